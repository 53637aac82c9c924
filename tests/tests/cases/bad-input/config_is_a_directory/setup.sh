mkdir keywheel.yaml
