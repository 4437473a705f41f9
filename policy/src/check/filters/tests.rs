use super::super::testing::reported;

/// A filter on the one argument of an LSM hook.
fn on(ty: &str, filter: &str) -> Vec<String> {
    reported(&format!(
        "lsmhooks: [{{hook: x_y, args: [{{index: 0, type: {ty}}}], selectors: [{{matchArgs: [{{index: 0, {filter}}}]}}]}}]"
    ))
}

const PLACE: &str = "spec.lsmhooks[0].selectors[0].matchArgs[0]";

#[test]
fn good_filters() {
    for (ty, filter) in [
        ("int", "operator: Equal, values: ['0x1']"),
        ("uint64", "operator: NotInRange, values: ['1:5']"),
        ("file", "operator: Prefix, values: [/etc]"),
        ("file", "operator: FileType, values: [reg]"),
        ("string", "operator: Postfix, values: [x]"),
        ("sock", "operator: NotDAddr, values: [10.0.0.0/8]"),
        ("sock", "operator: DPortPriv"),
        ("sockaddr", "operator: Family, values: [AF_INET]"),
        ("kernel_cap_t", "operator: Equal, values: ['CAP_BPF,CAP_CHOWN']"),
    ] {
        assert_eq!(on(ty, filter), [""; 0], "{ty} {filter}");
    }
}

#[test]
fn operators_that_do_not_fit() {
    for (ty, operator) in [
        ("int", "Prefix"),
        ("int", "SubString"),
        ("filename", "Equal"),
        ("filename", "Prefix"),
        ("kiocb", "Postfix"),
        ("cred", "Prefix"),
        ("module", "NotPrefix"),
        ("string", "FileType"),
        ("string", "GT"),
        ("sockaddr", "DAddr"),
        ("sock", "Equal"),
    ] {
        assert_eq!(
            on(ty, &format!("operator: {operator}, values: ['1']")),
            [format!("GW301 {PLACE}.operator")],
            "{ty}"
        );
    }
}

#[test]
fn values_that_mean_nothing() {
    for (ty, filter, code) in [
        ("int", "operator: Equal, values: ['x']", "GW304"),
        ("uint8", "operator: Equal, values: ['256']", "GW304"),
        ("int", "operator: InRange, values: ['5:1']", "GW304"),
        ("sock", "operator: DPort, values: ['65536']", "GW304"),
        ("sock", "operator: DAddr, values: [10.0.0]", "GW305"),
        ("sock", "operator: State, values: [LISTEN]", "GW307"),
        ("file", "operator: Postfix, values: ['']", "GW306"),
        ("string", "operator: Equal, values: [\"\\0\\0\"]", "GW306"),
        ("file", "operator: NotFileType, values: [file]", "GW307"),
    ] {
        assert_eq!(on(ty, filter), [format!("{code} {PLACE}.values[0]")], "{filter}");
    }
    assert_eq!(on("int", "operator: Equal, values: []"), [format!("GW302 {PLACE}")]);
}

#[test]
fn indices() {
    assert_eq!(
        reported(
            "lsmhooks: [{hook: x_y, selectors: [{matchArgs: [{index: 1, operator: Equal, values: ['1']}]}]}]"
        ),
        [format!("GW303 {PLACE}.index")]
    );
    let field = |index: u32| {
        reported(&format!(
            "tracepoints: [{{subsystem: a, event: b, args: [{{index: 4, type: int}}], selectors: [{{matchArgs: \
             [{{index: {index}, operator: Equal, values: ['1']}}]}}]}}]"
        ))
    };
    assert_eq!((field(4), field(0)), (Vec::new(), Vec::new()));
    assert_eq!(field(1), ["GW303 spec.tracepoints[0].selectors[0].matchArgs[0].index"]);
    let data = |index: u32| {
        reported(&format!(
            "kprobes: [{{call: sys_dup, data: [{{index: 0, type: int, source: current_task, resolve: pid}}], \
             selectors: [{{matchData: [{{index: {index}, operator: Equal, values: ['1']}}]}}]}}]"
        ))
    };
    assert_eq!(data(0), [""; 0]);
    assert_eq!(data(1), ["GW303 spec.kprobes[0].selectors[0].matchData[0].index"]);
}

#[test]
fn processes_and_changes() {
    let with =
        |selector: &str| reported(&format!("kprobes: [{{call: sys_dup, selectors: [{{{selector}}}]}}]"));
    let place = "spec.kprobes[0].selectors[0]";
    assert_eq!(with("matchNamespaceChanges: [{operator: In, values: [Mnt]}]"), [""; 0]);
    assert_eq!(
        with("matchNamespaceChanges: [{operator: In, values: [Mount]}]"),
        [format!("GW307 {place}.matchNamespaceChanges[0].values[0]")]
    );
    assert_eq!(
        with("matchCapabilityChanges: [{operator: In, values: [SYS_ADMIN]}]"),
        [format!("GW307 {place}.matchCapabilityChanges[0].values[0]")]
    );
    assert_eq!(
        with("matchParentBinaries: [{operator: In, values: [sh]}]"),
        [format!("GW306 {place}.matchParentBinaries[0].values[0]")]
    );
}
