mkdir source; printf 'do-not-print-1\377\376\n' > source/key
