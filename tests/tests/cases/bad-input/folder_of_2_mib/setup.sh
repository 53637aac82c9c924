mkdir -p source/folder; for n in 1 2 3; do yes do-not-print-1 | head -c 700000 > source/folder/$n; done
