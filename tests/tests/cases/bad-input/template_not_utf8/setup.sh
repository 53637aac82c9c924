printf 'a\n\377\n' > app.env.j2
