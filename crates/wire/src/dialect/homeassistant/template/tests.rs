use serde_json::{Value as Json, json};

use super::{Scope, evaluate};

fn of(template: &str, payload: &Json) -> Option<Json> {
    let scope = Scope { value: Json::String(payload.to_string()), json: Some(payload) };
    evaluate(template, &scope).unwrap_or_else(|beyond| panic!("{template}: {}", beyond.0))
}

fn check(template: &str, payload: &Json, expected: Json) {
    assert_eq!(of(template, payload), Some(expected), "{template}");
}

#[test]
fn paths_lead_into_the_payload() {
    let payload = json!({"ENERGY": {"Power": 12, "Voltage": [230, 231]}, "contact": false, "a b": "x"});
    check("{{ value_json.ENERGY.Power }}", &payload, json!(12));
    check("{{value_json['ENERGY']['Power']}}", &payload, json!(12));
    check("{{ value_json.ENERGY.Voltage[1] }}", &payload, json!(231));
    check("{{- value_json[\"a b\"] -}}", &payload, json!("x"));
    check("{{ value_json.contact }}", &payload, json!(false));
    assert_eq!(of("{{ value_json.nothing }}", &payload), None);
    assert_eq!(of("{{ value_json.nothing.below[0] }}", &payload), None);
}

#[test]
fn filters_convert_numbers_and_text() {
    let payload = json!({"t": "21.456", "n": 7.9, "w": " On "});
    check("{{ value_json.t | float }}", &payload, json!(21.456));
    check("{{ value_json.t | float | round(1) }}", &payload, json!(21.5));
    check("{{ value_json.t|round }}", &payload, json!(21));
    check("{{ value_json.n | int }}", &payload, json!(7));
    check("{{ float(value_json.t) + 1 }}", &payload, json!(22.456));
    check("{{ value_json.x | float(0) }}", &payload, json!(0));
    check("{{ value_json.x | default('none yet') }}", &payload, json!("none yet"));
    check("{{ value_json.w | trim | lower }}", &payload, json!("on"));
    check("{{ value_json.n | multiply(10) | int }}", &payload, json!(79));
    assert_eq!(of("{{ value_json.w | float }}", &payload), None);
    assert_eq!(of("{{ value_json.x | is_defined }}", &payload), None);
}

#[test]
fn arithmetic_comparisons_and_conditions_are_done() {
    let payload = json!({"t": 213, "on": true, "s": "open"});
    check("{{ value_json.t / 10 }}", &payload, json!(21.3));
    check("{{ (value_json.t - 3) * 2 }}", &payload, json!(420));
    check("{{ 1 + 2 * 3 }}", &payload, json!(7));
    check("{{ 'ON' if value_json.on else 'OFF' }}", &payload, json!("ON"));
    check("{{ 'ON' if value_json.s == 'closed' else 'OFF' }}", &payload, json!("OFF"));
    check("{{ value_json.t > 200 and not value_json.s == 'closed' }}", &payload, json!(true));
    check("{{ value_json.t if value_json.t is defined }}", &payload, json!(213));
    check("{{ value_json.x is not defined or false }}", &payload, json!(true));
    check("{{ value_json.s ~ '!' }}", &payload, json!("open!"));
    assert_eq!(of("{{ value_json.t / 0 }}", &payload), None);
    assert_eq!(of("{{ value_json.x if value_json.x is defined }}", &payload), None);
}

#[test]
fn text_around_expressions_makes_text() {
    let payload = json!({"v": true, "n": 5});
    check("{\"brightness\": {{ value_json.n }}}", &payload, json!("{\"brightness\": 5}"));
    check("{{ value_json.n }} {{ value_json.v }}", &payload, json!("5 True"));
    check("plain", &payload, json!("plain"));
}

#[test]
fn what_is_beyond_the_subset_is_named() {
    let payload = json!({});
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(100), ")".repeat(100));
    let long = format!("{{{{ {} }}}}", "1+".repeat(600));
    for template in [
        "{% if value %}1{% endif %}",
        "{{ value_json.x | regex_replace('a','b') }}",
        "{{ states('sensor.x') }}",
        "{{ value.split(',')[0] }}",
        "{{ value",
        "{{ }}",
        "{{ 1 2 }}",
        "{{ value_json[ }}",
        "{{ 'open }}",
        "{{ 1 | round(1,1,1,1,1) }}",
        "{{ 1.2.3 }}",
        &deep,
        &long,
    ] {
        let scope = Scope { value: Json::Null, json: Some(&payload) };
        let beyond = evaluate(template, &scope).expect_err(template);
        assert!(!beyond.0.is_empty(), "{template}");
    }
}
