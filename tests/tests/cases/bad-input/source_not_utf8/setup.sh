mkdir source; printf '{"password": "do-not-print-1",\n "k": "\377"}\n' > source/db.json
