"""Holds documents to a JSON Schema: reads {"schema": …, "documents": […]} and writes what is wrong with each, or null."""

import json
import sys

import fastjsonschema


def mistake(validate, document):
    try:
        validate(document)
    except fastjsonschema.JsonSchemaValueException as exception:
        return exception.message
    return None


asked = json.load(sys.stdin)
# Defaults are for readers: filled in, they would be keys that nobody wrote.
check = fastjsonschema.compile(asked["schema"], use_default=False)
json.dump([mistake(check, document) for document in asked["documents"]], sys.stdout)
