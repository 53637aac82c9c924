mkdir -p source/folder; cd source/folder; printf do-not-print-1 > 0; seq 1 9999 | xargs -n 2000 touch
