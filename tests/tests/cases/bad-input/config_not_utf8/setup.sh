printf 'providers:\n  local\377: {kind: file}\n' > keywheel.yaml
