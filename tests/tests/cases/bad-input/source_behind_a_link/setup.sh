mkdir source; echo '{"password": "do-not-print-1"}' > outside.json; ln -s ../outside.json source/db.json
