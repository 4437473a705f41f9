//! What an unquoted word of YAML is: as kubectl's reader (`sigs.k8s.io/yaml`, on top of go-yaml 2) decides, which is
//! YAML 1.1 with Go's integers.

use super::node::Value;
use crate::values::integer;

/// The value of a plain scalar without a tag.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::String(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Reads a number, underscores anywhere in it being ignored as go-yaml does.
fn number(text: &str) -> Option<Value> {
    let bare = text.replace('_', "");
    let whole = integer(&bare).ok().filter(|n| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n));
    if let Some(n) = whole {
        return Some(Value::Int(n));
    }
    is_float(&bare).then(|| bare.parse().ok()).flatten().map(float)
}

/// A number of JSON: a whole one is an integer there, whatever its notation.
pub(super) fn float(number: f64) -> Value {
    // Up to here every whole number has its own f64.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "whole and in range, as just tested")]
        return Value::Int(number as i128);
    }
    Value::Float(number)
}

/// `[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?` (an exponent needs its sign), and a point without digits after it.
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty()),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_ok = exponent
        .is_none_or(|e| e.strip_prefix(['-', '+']).is_some_and(|rest| !rest.is_empty() && digits(rest)));
    mantissa_ok && exponent_ok
}

/// The value of a scalar with a tag of YAML's own (`!!str` is `"str"`), or of `!`, which is `""`.
pub(super) fn tagged(suffix: &str, text: &str) -> Value {
    match suffix {
        "str" | "" | "binary" => Value::String(text.to_owned()),
        "null" => Value::Null,
        _ => plain(text),
    }
}

/// A key as JSON has it: always text.
pub(super) fn key(value: &Value, written: &str) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(_) => written.to_owned(),
        Value::Null | Value::Seq(_) | Value::Map(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_kubectl_takes_them_for() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("nULL", Value::String("nULL".to_owned())),
            ("yes", Value::Bool(true)),
            ("Off", Value::Bool(false)),
            ("y", Value::Bool(true)),
            ("4", Value::Int(4)),
            ("-4", Value::Int(-4)),
            ("+4", Value::Int(4)),
            ("0755", Value::Int(493)),
            ("0o755", Value::Int(493)),
            ("0x1F", Value::Int(31)),
            ("0b11", Value::Int(3)),
            ("1_000", Value::Int(1000)),
            ("08", Value::Int(8)),
            ("1.0", Value::Int(1)),
            ("1e+3", Value::Int(1000)),
            ("1.5", Value::Float(1.5)),
            (".5", Value::Float(0.5)),
            ("18446744073709551615", Value::Int(u64::MAX.into())),
            ("18446744073709551616", Value::Float(18_446_744_073_709_551_616.0)),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
        for text in
            ["1e3", "-", "+", ".", "1.2.3", "10.0.0.0/8", "2020-01-01", "0x", "a", "1:2", "/bin", "-x", "1s"]
        {
            assert_eq!(plain(text), Value::String(text.to_owned()), "{text}");
        }
    }
}
