mkdir source
