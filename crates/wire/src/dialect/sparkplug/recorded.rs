//! What another implementation writes: payloads recorded from pysparkplug 0.6.1 and from its
//! generated code of the published schema.

use super::Sparkplug;
use crate::dialect::{Dialect, Said, What};
use crate::telemetry::{Point, Value};

const NOW: i64 = 1_795_269_864_000;

fn readings(said: Vec<Said<'_>>) -> Vec<(String, Value<'static>)> {
    let own = |point: Point<'_>| (point.key.into_owned(), point.value.into_owned());
    let of = |said: Said<'_>| match said.what {
        What::Readings(points) => points.into_iter().map(own).collect(),
        _ => Vec::new(),
    };
    said.into_iter().flat_map(of).collect()
}

#[test]
fn a_birth_of_another_implementation_is_read_and_its_aliases_hold() {
    let mut dialect = Sparkplug::default();
    let birth = dialect.hear("spBv1.0/g/NBIRTH/n", include_bytes!("recorded/nbirth"), NOW).unwrap();
    let expected = [
        ("i8", Value::Integer(-5)),
        ("i16", Value::Integer(-300)),
        ("i32", Value::Integer(-70_000)),
        ("i64", Value::Integer(-5_000_000_000)),
        ("u8", Value::Integer(200)),
        ("u16", Value::Integer(60_000)),
        ("u32", Value::Integer(4_000_000_000)),
        ("u64", Value::Unsigned(18_000_000_000_000_000_000)),
        ("f", Value::Number(0.5)),
        ("d", Value::Number(0.1)),
        ("b", Value::Boolean(true)),
        ("s", Value::Text("grün".into())),
        ("t", Value::Text("text".into())),
        ("u", Value::Text("550e8400-e29b-41d4-a716-446655440000".into())),
        ("dt", Value::Integer(1_600_000_000_000)),
    ];
    assert_eq!(readings(birth), expected.map(|(key, value)| (key.to_owned(), value)));

    let data = dialect.hear("spBv1.0/g/NDATA/n", include_bytes!("recorded/ndata"), NOW).unwrap();
    let expected = [("i32", Value::Integer(-1)), ("i8", Value::Integer(-2))];
    assert_eq!(readings(data), expected.map(|(key, value)| (key.to_owned(), value)));

    let death = dialect.hear("spBv1.0/g/NDEATH/n", include_bytes!("recorded/ndeath"), NOW).unwrap();
    assert_eq!(death.len(), 2, "the numbers of birth and death are the same");
}

#[test]
fn units_tables_and_templates_of_another_implementation_are_read() {
    let mut dialect = Sparkplug::default();
    dialect.hear("spBv1.0/g/NBIRTH/n", include_bytes!("recorded/nbirth"), NOW).unwrap();
    let said = dialect.hear("spBv1.0/g/DBIRTH/n/d", include_bytes!("recorded/dbirth"), NOW).unwrap();
    for said in &said {
        match &said.what {
            What::Description(about) => {
                assert_eq!(about.keys.first().unwrap().unit.as_deref(), Some("°C"));
            }
            What::Event { name, payload } => {
                assert_eq!(
                    (&**name, &**payload),
                    ("table", br#"{"columns":["a","b"],"rows":[[-1,"x"]]}"#.as_slice())
                );
            }
            _ => {}
        }
    }
    let expected = [("temp", Value::Number(21.25)), ("motor/amps", Value::Number(1.5))];
    assert_eq!(readings(said), expected.map(|(key, value)| (key.to_owned(), value)));
}
