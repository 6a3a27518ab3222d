use super::{Limits, TelemetryError, TelemetryErrorKind, Value};
use crate::json::{Reader, Token};
use std::borrow::Cow;

/// The payload of `me/telemetry/{key}`: one JSON number, boolean, string or
/// `null` (`None`), white space around it allowed. Other UTF-8 text, such as
/// `on` or `21.5 C`, is text as it stands, unless it begins like an object, an
/// array or a string, or says NaN or infinity.
///
/// # Errors
/// [`TelemetryErrorKind::Shape`] for an empty payload, object or array;
/// [`TelemetryErrorKind::Syntax`] for other encodings, NaN and a damaged
/// string; [`TelemetryErrorKind::NumberOutOfRange`] for a number that would
/// lose digits; [`TelemetryErrorKind::TooLarge`] for a long text.
pub fn bare<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<Value<'a>>, TelemetryError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let detail = "is not UTF-8: send text or a number in UTF-8";
        TelemetryError::new(TelemetryErrorKind::Syntax, error.valid_up_to(), detail)
    })?;
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    let shape = |detail| TelemetryError::new(TelemetryErrorKind::Shape, 0, detail);
    match trimmed.as_bytes() {
        [] => return Err(shape("is empty: send one value")),
        [b'{' | b'[', ..] => {
            return Err(shape("is an object or array: send it to me/telemetry, without a key"));
        }
        _ => {}
    }
    let mut reader = Reader::open(bytes, limits.depth_max)?;
    let token = reader.value().and_then(|token| {
        reader.finish()?;
        Ok(token)
    });
    let value = match token {
        Ok(Token::Null) => return Ok(None),
        Ok(Token::Boolean(value)) => Value::Boolean(value),
        Ok(Token::Number(number)) => number.into(),
        Ok(Token::Text(text)) => Value::Text(text),
        Ok(Token::Object | Token::Array) => return Err(shape("is an object or array")),
        Err(error) if !error.is_syntax() || trimmed.starts_with('"') => return Err(error.into()),
        Err(_) if is_not_a_number(trimmed) => {
            let detail = "NaN and infinity are no values: send nothing, or null";
            return Err(TelemetryError::new(TelemetryErrorKind::Syntax, 0, detail));
        }
        Err(_) => Value::Text(Cow::Borrowed(trimmed)),
    };
    if let Value::Text(text) = &value {
        limits.check_text(text, 0)?;
    }
    Ok(Some(value))
}

fn is_not_a_number(text: &str) -> bool {
    let word = text.strip_prefix(['+', '-']).unwrap_or(text);
    ["nan", "inf", "infinity"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::bare;
    use crate::telemetry::{Limits, TelemetryErrorKind, Value};
    use std::borrow::Cow;

    fn check(payload: &str, expected: Value<'_>) {
        let value = bare(payload.as_bytes(), &Limits::default());
        assert_eq!(value, Ok(Some(expected)), "{payload}");
    }

    fn refused(payload: &[u8], kind: TelemetryErrorKind) {
        let error = bare(payload, &Limits::default()).unwrap_err();
        assert_eq!(error.kind, kind, "{payload:?}: {error}");
    }

    #[test]
    fn one_value_is_read_as_json() {
        check("21.5", Value::Number(21.5));
        check(" 7\r\n", Value::Integer(7));
        check("18446744073709551615", Value::Unsigned(u64::MAX));
        check("true", Value::Boolean(true));
        check("\"te\\u0078t\"", Value::Text(Cow::Borrowed("text")));
        assert_eq!(bare(b"null", &Limits::default()), Ok(None));
    }

    #[test]
    fn other_text_is_kept_as_text() {
        for text in ["on", "21.5 C", "+1", "01", "21,5", "2026-01-01", "truely", "grün", "#1"] {
            check(text, Value::Text(Cow::Borrowed(text)));
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        refused(b"", TelemetryErrorKind::Shape);
        refused(b" \n", TelemetryErrorKind::Shape);
        refused(b"{\"a\":1}", TelemetryErrorKind::Shape);
        refused(b"[1]", TelemetryErrorKind::Shape);
        refused(b"\"open", TelemetryErrorKind::Syntax);
        refused(b"\"a\" \"b\"", TelemetryErrorKind::Syntax);
        refused(b"\xff\x00", TelemetryErrorKind::Syntax);
        for word in ["NaN", "nan", "-inf", "+Infinity"] {
            refused(word.as_bytes(), TelemetryErrorKind::Syntax);
        }
        refused(b"1e400", TelemetryErrorKind::NumberOutOfRange);
        refused("9".repeat(400).as_bytes(), TelemetryErrorKind::NumberOutOfRange);
        refused("x".repeat(65_537).as_bytes(), TelemetryErrorKind::TooLarge);
    }
}
