mkdir -p source/folder; printf do-not-print-1 > 'source/folder/a\..\..\etc\passwd'
