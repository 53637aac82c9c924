mkdir source; { printf 'do-not-print-1 = '; head -c 100000 /dev/zero | tr '\0' '['; } > source/db.toml
