#!/bin/sh
# A program for the strategy `exec`, whose last argument is the step: two accounts of PostgreSQL take turns, or one is replaced in place.
# In its folder, `stop` has the step and the place at which it waits for `go`, `fail` a step and the code that it ends with, and `leave` a step
# that leaves a program running, whose process is in `left` then.
set -eu
cd "$(dirname "$0")"
for step do :; done

stop() {
    [ "$(cat stop 2>/dev/null)" = "$step $1" ] || return 0
    echo $$ >stopping
    mv stopping stopped
    waited=0
    until [ -e go ]; do
        # Not longer than the test, and at most a minute.
        [ -e "$0" ] && [ "$waited" -lt 3000 ] || exit 70
        waited=$((waited + 1))
        sleep 0.02
    done
}

stop begin
told=$(cat)
echo "$step" >>steps
stop told

part() {
    printf %s "$told" | sed -n "s/.*\"$1\":{\"password\":\"\([^\"]*\)\",\"username\":\"\([^\"]*\)\"}.*/\\$2/p"
}
new=$(part new 2) old=$(part old 2) port=$(cat port)

# No password is an argument.
as() {
    PGPASSWORD=$2 psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port="$port" --username="$1" --dbname=postgres >/dev/null
}
as_admin() {
    as rotator rotator
}
set_password() {
    printf "ALTER ROLE %s PASSWORD '%s';" "$1" "$2" | as_admin
}
close() {
    echo "ALTER ROLE $1 NOLOGIN;" | as_admin
    stop middle
    echo "ALTER ROLE $1 PASSWORD NULL;" | as_admin
}

if [ "$(cat leave 2>/dev/null)" = "$step" ]; then
    sleep 600 >/dev/null 2>&1 &
    echo $! >left
    rm leave
fi

case "$(cat fail 2>/dev/null)" in
"$step "*) exit "$(sed 's/.* //' fail)" ;;
esac

case $step in
create)
    stop middle
    if [ "$old" = orders_a ] && [ ! -e in-place ]; then old=orders_b; else old=orders_a; fi
    echo "{\"username\": \"$old\"}"
    ;;
check)
    echo 'SELECT 1;' | as_admin
    stop middle
    ;;
set)
    set_password "$new" "$(part new 1)"
    stop middle
    echo "ALTER ROLE $new LOGIN;" | as_admin
    ;;
test)
    echo 'SELECT 1;' | as "$new" "$(part new 1)"
    stop middle
    ;;
undo)
    if [ "$new" = "$old" ]; then set_password "$old" "$(part old 1)"; else close "$new"; fi
    ;;
retire)
    if [ "$new" != "$old" ]; then close "$old"; fi
    ;;
esac
stop end
