//! Values behind pointers: `resolve` of arguments and of `data`.

use gatewatch_abi::consts::{WAY_FOLLOW, WAY_STEPS};
use gatewatch_kernel::{CType, Kind, Pointee, Route, RouteEnd, RouteStep};

use super::{
    compiler::Compiler,
    declared::{Declared, misread},
    registers,
    types::{Readable, integer},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath, Severity},
    model::{Arg, ArgFilter, ArgType, DataSource, Hook, Selector},
    plan::{Field, Filter, HookPoint, Way, WayFrom, WayRead},
    target::Targets,
};

/// Bytes of one step of a way.
const STEP: u32 = 0x7fff;
const _: () = assert!(STEP as u64 + 1 == WAY_FOLLOW);

/// What a value is behind, and whether a filter reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behind<'a> {
    pub(super) from: WayFrom,
    /// The structure there; `None`: it is none.
    pub(super) structure: Option<&'a str>,
    pub(super) filtered: bool,
}

/// The structure that an argument points to, as declared or by its type.
pub(super) fn structure<'a>(arg: &'a Arg, ty: Option<&'a CType>) -> Option<&'a str> {
    let written = arg.btf_type.as_deref().filter(|name| !name.is_empty());
    written.or(match ty.map(|ty| &ty.kind) {
        Some(Kind::Pointer(Pointee::Struct(name) | Pointee::Union(name))) => Some(name.as_str()),
        _ => None,
    })
}

impl Compiler<'_> {
    /// What a filter on a value behind pointers reads.
    pub(super) fn resolved(&mut self, arg: &Arg, behind: Behind<'_>, path: &FieldPath) -> Readable {
        let text = arg.resolve.as_deref().unwrap_or_default();
        let (severity, consequence) = misread(behind.filtered);
        let at = path.field("resolve");
        let wrong = |problem: String| {
            Diagnostic::new(&codes::ARG_FIELD, at.clone(), format!("{problem}; {consequence}"))
                .severity(severity)
        };
        let Some(structure) = behind.structure else {
            let problem = "`resolve` needs a pointer to a structure, and the argument is none".to_owned();
            self.report(wrong(problem).help("name the structure with `btfType`"));
            return Readable::Misdeclared;
        };
        let route = match self.environment.kernel.route(structure, text) {
            Some(Ok(route)) => route,
            Some(Err(error)) => {
                self.report(wrong(error.to_string()));
                return Readable::Misdeclared;
            }
            None => {
                self.unchecked(structure, text, &at);
                return assumed(arg.ty, behind.from, structure, text);
            }
        };
        let Some(way) = way(behind.from, &route.steps) else {
            self.report(wrong(format!("`{text}` has more steps than a BPF program takes")));
            return Readable::Misdeclared;
        };
        read(arg.ty, way, &route).unwrap_or_else(|| {
            let message = format!(
                "declared as `{}`, but `{text}` of `struct {structure}` is another type; {consequence}",
                arg.ty
            );
            let at = path.field("type");
            self.report(Diagnostic::new(&codes::ARG_TYPE, at, message).severity(severity));
            Readable::Misdeclared
        })
    }

    /// A saved profile has no structures: the agent finds out.
    fn unchecked(&mut self, structure: &str, text: &str, at: &FieldPath) {
        let message = format!(
            "saved profiles of kernels have no structures, so each node checks whether `struct {structure}` has `{text}`"
        );
        let diagnostic = Diagnostic::new(&codes::ARG_FIELD, at.clone(), message);
        self.report(diagnostic.severity(Severity::Note).targets(Targets::GATEWATCH));
    }

    /// The values of `data`.
    pub(super) fn data(&mut self, hook: &Hook, point: &HookPoint, path: &FieldPath) -> Vec<Declared> {
        let mut all = Vec::new();
        for (position, arg) in hook.data.iter().enumerate() {
            let path = path.field("data").index(position);
            let filtered = hook
                .selectors
                .iter()
                .flat_map(|selector| &selector.match_data)
                .any(|filter| named(hook, filter).is_some_and(|named| std::ptr::eq(named, arg)));
            let readable = match arg.source.as_deref().and_then(DataSource::from_name) {
                Some(DataSource::CurrentTask) => {
                    let behind = Behind { from: WayFrom::Task, structure: Some("task_struct"), filtered };
                    self.resolved(arg, behind, &path)
                }
                Some(DataSource::PtRegs) => self.register(arg, point, filtered, &path),
                None => Readable::Opaque,
            };
            all.push(Declared { index: arg.index, position, ty: arg.ty, readable, absent: false });
        }
        all
    }

    /// What a filter on a register reads.
    fn register(&mut self, arg: &Arg, point: &HookPoint, filtered: bool, path: &FieldPath) -> Readable {
        let name = arg.resolve.as_deref().unwrap_or_default();
        let arch = self.environment.kernel.arch;
        let (severity, consequence) = misread(filtered);
        let Some((offset, bits)) = registers::find(arch, name) else {
            let message = format!("{arch} has no register `{name}`; {consequence}");
            self.report(
                Diagnostic::new(&codes::ARG_FIELD, path.field("resolve"), message).severity(severity),
            );
            return Readable::Misdeclared;
        };
        // Functions of the kernel are hooked without registers where that costs less.
        let has_registers = point.is_syscall() || matches!(point, HookPoint::Uprobe { .. });
        let (Some((declared, signed)), true) = (integer(arg.ty), has_registers) else {
            return Readable::Opaque;
        };
        let step = RouteStep { offset, follow: false };
        let Some(way) = way(WayFrom::Registers, &[step]) else { return Readable::Opaque };
        let field =
            Field::WayNumber { way, bits: declared.min(bits), signed: signed && declared <= bits, shift: 0 };
        Readable::Int { field, bits: declared, signed }
    }

    /// The filters of `matchData`.
    pub(super) fn data_filters(
        &mut self,
        selector: &Selector,
        hook: &Hook,
        data: &[Declared],
        path: &FieldPath,
    ) -> Vec<Filter> {
        let mut filters = Vec::new();
        for (i, filter) in selector.match_data.iter().enumerate() {
            let path = path.field("matchData").index(i);
            let position = named(hook, filter)
                .and_then(|arg| hook.data.iter().position(|other| std::ptr::eq(other, arg)));
            let Some(declared) = position.and_then(|position| data.get(position)) else {
                let message = "the entry of `data` is not declared, so this filter cannot be evaluated";
                self.report(Diagnostic::new(&codes::UNDECLARED_ARG, path.field("index"), message));
                continue;
            };
            filters.extend(self.argument_filter(*declared, filter, &path));
        }
        filters
    }
}

/// The entry of `data` that a filter names by its position.
fn named<'a>(hook: &'a Hook, filter: &ArgFilter) -> Option<&'a Arg> {
    hook.data.get(filter.data_position() as usize)
}

/// A way as the BPF programs take it: a step of more bytes than one can have is several.
fn way(from: WayFrom, route: &[RouteStep]) -> Option<Way> {
    let mut steps = [0; WAY_STEPS];
    let mut next = steps.iter_mut();
    for step in route {
        let mut offset = step.offset;
        while offset > STEP {
            *next.next()? = u16::try_from(STEP).ok()?;
            offset -= STEP;
        }
        let follow = if step.follow { WAY_FOLLOW } else { 0 };
        let packed = u16::try_from(u64::from(offset) | follow).ok()?;
        if packed != 0 {
            *next.next()? = packed;
        }
    }
    Some(Way { from, steps })
}

/// What is read at the end of a way, if that is what is declared.
fn read(ty: ArgType, way: Way, route: &Route) -> Option<Readable> {
    if let (Some((declared, declared_sign)), RouteEnd::Int { bits, signed, shift }) =
        (integer(ty), &route.end)
    {
        // Of a wider declaration, no more is read than there is.
        let (narrow, sign) = if *bits < declared { (*bits, *signed) } else { (declared, declared_sign) };
        let field = Field::WayNumber { way, bits: narrow, signed: sign, shift: *shift };
        return Some(Readable::Int { field, bits: declared, signed: declared_sign });
    }
    let read = text(ty)?;
    let fits = match (&route.end, read) {
        (RouteEnd::Chars, WayRead::String) => true,
        (RouteEnd::Struct(name), WayRead::File) => name == "file",
        (RouteEnd::Struct(name), WayRead::Path) => name == "path",
        (RouteEnd::Struct(name), WayRead::Dentry) => name == "dentry",
        (RouteEnd::Struct(name), WayRead::Binprm) => name == "linux_binprm",
        _ => false,
    };
    fits.then_some(Readable::Text(Field::WayText { way, read }))
}

const fn text(ty: ArgType) -> Option<WayRead> {
    Some(match ty {
        ArgType::String => WayRead::String,
        ArgType::File => WayRead::File,
        ArgType::Path => WayRead::Path,
        ArgType::Dentry => WayRead::Dentry,
        ArgType::LinuxBinprm => WayRead::Binprm,
        _ => return None,
    })
}

/// What is read where the kernel's structures are not known. The way is none that a program could take, but as different
/// from others as its name, so that a policy is judged with as many fields as it has.
fn assumed(ty: ArgType, from: WayFrom, structure: &str, path: &str) -> Readable {
    let mut steps = [0; WAY_STEPS];
    for (i, byte) in structure.bytes().chain([b'.']).chain(path.bytes()).enumerate() {
        let step = &mut steps[i % WAY_STEPS];
        *step = u16::rotate_left(*step, 5) ^ u16::from(byte);
    }
    let way = Way { from, steps };
    match (integer(ty), text(ty)) {
        (Some((bits, signed)), _) => {
            Readable::Int { field: Field::WayNumber { way, bits, signed, shift: 0 }, bits, signed }
        }
        (None, Some(read)) => Readable::Text(Field::WayText { way, read }),
        (None, None) => Readable::Opaque,
    }
}
