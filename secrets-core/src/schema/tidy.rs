//! Makes the schema plainer than a serializer's types are.

use serde_json::{Map, Value};

/// Takes `null` out (a key that says nothing is better left out), and joins the lines of descriptions.
pub(super) fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            without_null(object);
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            object.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(alternatives)) = object.get_mut("anyOf") {
        alternatives.retain(|one| one["type"] != "null");
        if let [Value::Object(one)] = alternatives.as_slice() {
            let one = one.clone();
            object.remove("anyOf");
            // What is said beside a reference counts for nothing in draft 07.
            match one.contains_key("$ref") {
                true => drop(object.insert("allOf".into(), Value::Array(vec![one.into()]))),
                false => object.extend(one.into_iter().filter(|(key, _)| key != "description")),
            }
        }
    }
}
