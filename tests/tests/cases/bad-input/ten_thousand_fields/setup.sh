mkdir source; { printf '{'; seq -f '"k%.0f": "do-not-print-1",' 1 9999; printf '"k0": "x"}'; } > source/db.json
