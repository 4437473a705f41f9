//! Numbers of the kernel's enumerations, which are no promise of the kernel: they differ between releases.

use super::{arguments::Arguments, compiler::Compiler};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath, Severity},
    model::{ArgFilter, Operator},
    values,
};

impl Compiler<'_> {
    /// Says what the numbers of a filter on an enumeration mean on this kernel, so that others can be compared.
    pub(super) fn enum_numbers(
        &mut self,
        arguments: &Arguments<'_>,
        argument: u32,
        filter: &ArgFilter,
        path: &FieldPath,
    ) {
        let by_number = matches!(
            filter.operator,
            Operator::Equal | Operator::NotEqual | Operator::InMap | Operator::NotInMap
        );
        let Some((_, tag)) = arguments.enums.iter().find(|(index, _)| *index == argument) else { return };
        let kernel = self.environment.kernel;
        let Some(constants) = kernel.enum_constants(tag).filter(|_| by_number) else { return };
        for (i, value) in filter.values.iter().enumerate() {
            let Ok(number) = values::integer(value) else { continue };
            let path = path.field("values").index(i);
            let release = &kernel.release;
            let diagnostic = match constants.iter().find(|(_, known)| i128::from(*known) == number) {
                Some((name, _)) => Diagnostic::new(
                    &codes::ENUM_NUMBER,
                    path,
                    format!(
                        "`{value}` is {name} of `enum {tag}` on the kernel {release}; other releases may number it \
                         differently"
                    ),
                ),
                None => Diagnostic::new(
                    &codes::ENUM_NUMBER,
                    path,
                    format!(
                        "`{value}` is not a constant of `enum {tag}` on the kernel {release}; no call has it"
                    ),
                )
                .severity(Severity::Warning),
            };
            self.report(diagnostic);
        }
    }
}
