mkfifo keywheel.yaml
