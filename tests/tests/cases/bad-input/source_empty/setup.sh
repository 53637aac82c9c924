mkdir source; : > source/db.json
