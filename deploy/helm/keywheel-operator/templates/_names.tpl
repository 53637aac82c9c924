{{- /* There is one webhook to a cluster, and its objects have the same names whatever the release is called. */ -}}
{{- define "keywheel.selector" -}}
app.kubernetes.io/name: keywheel-operator
app.kubernetes.io/part-of: keywheel
{{- end -}}

{{- define "keywheel.labels" -}}
app.kubernetes.io/part-of: keywheel
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- /* An image of the values: {{ include "keywheel.image" (list . .Values.image) }}. */ -}}
{{- define "keywheel.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}
{{- end -}}
