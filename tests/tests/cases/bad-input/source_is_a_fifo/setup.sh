mkdir source; mkfifo source/db.json
