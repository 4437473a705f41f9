//! What every object has, and what the matchers have in common.

/// The licence and the panic handler that an object must have.
#[macro_export]
macro_rules! object {
    () => {
        #[panic_handler]
        fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
            loop {}
        }

        /// The kernel gives some helpers only to programs under a licence compatible with its own.
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
    };
}

/// The programs of a matcher for tracepoints and LSM hooks, whose rows are of this width.
#[macro_export]
macro_rules! events {
    ($width:ident) => {
        use aya_ebpf::{
            EbpfContext,
            macros::{lsm, raw_tracepoint, tracepoint},
            programs::{LsmContext, RawTracePointContext, TracePointContext},
        };
        use gatewatch_ebpf::{
            context::{Arguments, RawArguments, TracepointFields},
            matcher::event,
            rows::$width,
            shape::Acting,
        };

        /// A tracepoint, with the fields of its format.
        #[tracepoint]
        pub fn match_tracepoint(ctx: TracePointContext) -> u32 {
            let _ = event::<_, $width, Acting>(TracepointFields(ctx.as_ptr()));
            0
        }

        /// A raw tracepoint.
        #[raw_tracepoint]
        pub fn match_raw_tracepoint(ctx: RawTracePointContext) -> i32 {
            let _ = event::<_, $width, Acting>(RawArguments(ctx.as_ptr()));
            0
        }

        /// An LSM hook, which returns the verdict.
        #[lsm]
        pub fn match_lsm(ctx: LsmContext) -> i32 {
            event::<_, $width, Acting>(Arguments(ctx.as_ptr()))
        }

        $crate::object!();
    };
}

/// The programs of a matcher of this [shape](crate::shape::Shaped) whose rows are of this width.
#[macro_export]
macro_rules! matcher {
    ($width:ident, $shape:ident) => {
        use aya_ebpf::{
            EbpfContext,
            macros::{fentry, fexit, kprobe},
            programs::{FEntryContext, FExitContext, ProbeContext},
        };
        use gatewatch_ebpf::{
            context::{Arguments, Registers},
            matcher::event,
            rows::$width,
            shape::$shape,
        };

        /// Entry by kprobe, and return by kretprobe: the kernel makes no difference between the two programs.
        #[kprobe]
        pub fn match_kprobe(ctx: ProbeContext) -> u32 {
            let _ = event::<_, $width, $shape>(Registers(ctx.as_ptr()));
            0
        }

        /// Entry, by fentry.
        #[fentry]
        pub fn match_fentry(ctx: FEntryContext) -> i32 {
            let _ = event::<_, $width, $shape>(Arguments(ctx.as_ptr()));
            0
        }

        /// Return, by fexit.
        #[fexit]
        pub fn match_fexit(ctx: FExitContext) -> i32 {
            let _ = event::<_, $width, $shape>(Arguments(ctx.as_ptr()));
            0
        }

        $crate::object!();
    };
}
