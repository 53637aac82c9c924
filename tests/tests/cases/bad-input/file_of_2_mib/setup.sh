mkdir source; yes do-not-print-1 | head -c 2097152 > source/db.bin
