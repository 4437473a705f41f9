//! Actions: entries of `matchActions` and `matchReturnActions`.

use super::{cursor::Cursor, names::ACTION};
use crate::{
    model::{Action, ActionKind},
    synonyms::WordKind,
};

/// An entry of `matchActions`.
pub(super) fn action(cursor: &Cursor<'_>) -> Action {
    let Some(object) = cursor.object(ACTION) else { return Action::default() };
    let written = object.required("action", ActionKind::Post.name());
    let kind =
        written.and_then(|c| c.word(WordKind::Action, ActionKind::NAMES)).and_then(ActionKind::from_name);
    let mut action = Action { kind, ..Action::default() };
    for name in ACTION.iter().skip(1) {
        let Some(c) = object.get(name) else { continue };
        let text = match *name {
            "argUrl" | "argFqdn" | "argNewSymbol" | "rateLimit" | "rateLimitScope" => c.text(),
            "argError" => c.number(i32::MIN, i32::MAX).map(|n| n.to_string()),
            "argNewAddr" => c.number(0, u64::MAX).map(|n| n.to_string()),
            "argNewOffset" => c.number(i64::MIN, i64::MAX).map(|n| n.to_string()),
            "argRegs" => Some(c.list(|c| c.text().unwrap_or_default()).join(",")),
            "kernelStackTrace" | "userStackTrace" | "imaHash" => c.flag().map(|b| b.to_string()),
            _ => c.number(0, u32::MAX).map(|n| n.to_string()),
        };
        action.fields.extend(text.map(|text| ((*name).to_owned(), text)));
    }
    action
}
