head -c 5242880 /dev/zero | tr '\0' '#' > keywheel.yaml
