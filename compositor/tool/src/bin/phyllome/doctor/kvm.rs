//! Whether /dev/kvm opens *and* works: some hosts offer one that opens, makes machines, and then gives up on ordinary
//! instructions.
//!
//! A machine of one page of code runs in long mode, in this process, with a deadline; what counts is how it leaves: by
//! writing to its port (it works), or by an internal error of KVM (it does not). Only instructions that the host's own
//! processor has are tried.

use super::Check;

const COST: &str = "guests run in software emulation, many times slower";

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn check() -> Check {
    Check::costs("kvm", "KVM was not tried; this check knows x86-64 only", COST, "try a guest with accel = \"kvm\"")
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::check;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::{COST, Check};
    use kvm_bindings::{KVM_API_VERSION, kvm_segment, kvm_userspace_memory_region};
    use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    use std::sync::mpsc;
    use std::time::Duration;

    /// How long one program may run.
    const LIMIT: Duration = Duration::from_secs(5);
    const MEMORY: usize = 2 << 20;
    const CODE: usize = 0x8000;
    const DATA: usize = 0x9000;
    const PORT: u16 = 0xf4;

    /// mov ecx, 1000; again: dec ecx; jnz again
    const LOOP: &[u8] = &[0xb9, 0xe8, 0x03, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xfc];
    /// movdqu xmm0, [0x9000]; paddq xmm0, xmm0; movdqu [0x9010], xmm0
    const SSE2: &[u8] = &[
        0xf3, 0x0f, 0x6f, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00, 0x66, 0x0f, 0xd4, 0xc0, 0xf3, 0x0f, 0x7f, 0x04, 0x25,
        0x10, 0x90, 0x00, 0x00,
    ];
    /// shlx r8, r8, rcx: what a distribution's kernel uses to unpack itself.
    const BMI2: &[u8] = &[0xc4, 0x42, 0xf1, 0xf7, 0xc0];
    /// mov edi, 0x9000; mov ecx, 64; rep stosb; lock xadd [0x9000], eax
    const STRINGS: &[u8] = &[
        0xbf, 0x00, 0x90, 0x00, 0x00, 0xb9, 0x40, 0x00, 0x00, 0x00, 0xf3, 0xaa, 0xf0, 0x0f, 0xc1, 0x04, 0x25, 0x00,
        0x90, 0x00, 0x00,
    ];
    /// mov edx, 0xf4; out dx, al; hlt
    const END: &[u8] = &[0xba, 0xf4, 0x00, 0x00, 0x00, 0xee, 0xf4];

    pub(in super::super) fn check() -> Check {
        let kvm = match Kvm::new() {
            Ok(kvm) => kvm,
            Err(error) => {
                let mend = match error.errno() {
                    2 => "load the module kvm_intel or kvm_amd, and turn on virtualisation in the firmware's setup",
                    _ => "add yourself to the group kvm, then log in again",
                };
                return Check::costs("kvm", format!("/dev/kvm does not open: {error}"), COST, mend);
            }
        };
        if kvm.get_api_version() != KVM_API_VERSION as i32 {
            let mend = "install Linux 2.6.22 or newer";
            return Check::costs("kvm", "KVM speaks another version of its interface", COST, mend);
        }
        let mut programs = vec![("a loop", LOOP), ("SSE2", SSE2), ("string and locked instructions", STRINGS)];
        if std::arch::is_x86_feature_detected!("bmi2") {
            programs.push(("BMI2", BMI2));
        }
        for (what, program) in programs {
            if let Err(why) = run_in_time(program) {
                let mend = "use a host with hardware virtualisation that reaches this system (nested virtualisation, if this \
                            is a guest itself), or set accel = \"tcg\" in the guests' files";
                let finding = format!("KVM opens but does not work: {what} ended with {why}");
                return Check::costs("kvm", finding, COST, mend);
            }
        }
        Check::fine("kvm", "KVM opens and runs code")
    }

    fn run_in_time(program: &'static [u8]) -> Result<(), String> {
        let (done, result) = mpsc::channel();
        // A machine that never leaves its loop keeps this thread, which ends with the process.
        std::thread::spawn(move || done.send(run(program)));
        result.recv_timeout(LIMIT).unwrap_or_else(|_| Err(format!("silence for {} s", LIMIT.as_secs())))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every way to leave but one is a failure")]
    fn run(program: &[u8]) -> Result<(), String> {
        let error = |error: kvm_ioctls::Error| error.to_string();
        let kvm = Kvm::new().map_err(error)?;
        let vm = kvm.create_vm().map_err(error)?;
        let memory = machine_memory(program)?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: memory as u64,
        };
        // SAFETY: the region is this function's own mapping of MEMORY bytes, which is never unmapped; nothing else
        // refers to it.
        unsafe { vm.set_user_memory_region(region) }.map_err(error)?;
        let mut vcpu = vm.create_vcpu(0).map_err(error)?;
        let cpuid = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).map_err(error)?;
        vcpu.set_cpuid2(&cpuid).map_err(error)?;
        long_mode(&vcpu).map_err(error)?;
        match vcpu.run().map_err(error)? {
            VcpuExit::IoOut(PORT, _) => Ok(()),
            VcpuExit::InternalError => Err("an internal error of KVM".to_owned()),
            VcpuExit::Shutdown => Err("a triple fault".to_owned()),
            other => Err(format!("an unexpected exit ({other:?})").chars().take(120).collect()),
        }
    }

    /// Guest memory with page tables (the first 2 MiB mapped to themselves) and the program; never unmapped.
    fn machine_memory(program: &[u8]) -> Result<*mut u8, String> {
        // SAFETY: a new anonymous mapping at a place that the kernel chooses touches nothing that exists.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), MEMORY, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let start = start.map_err(|error| format!("no memory: {error}"))?.cast::<u8>();
        // SAFETY: the mapping has MEMORY readable and writable bytes, and no other reference to it exists yet.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, MEMORY) };
        // Present and writable; the last entry maps a page of 2 MiB.
        for (at, entry) in [(0x1000, 0x2003u64), (0x2000, 0x3003), (0x3000, 0x83)] {
            bytes[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        }
        let code = [program, END].concat();
        bytes[CODE..CODE + code.len()].copy_from_slice(&code);
        bytes[DATA..DATA + 16].fill(0x11);
        Ok(start)
    }

    /// Puts the processor into long mode at the program's start.
    fn long_mode(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
        let mut special = vcpu.get_sregs()?;
        let flat = kvm_segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..Default::default() };
        special.cs = kvm_segment { selector: 8, type_: 11, l: 1, ..flat };
        let data = kvm_segment { selector: 16, type_: 3, db: 1, ..flat };
        (special.ds, special.es, special.ss) = (data, data, data);
        special.cr3 = 0x1000;
        // PAE, OSFXSR, OSXMMEXCPT; PE, MP, ET, NE, WP, PG; LME, LMA.
        special.cr4 = 0x620;
        special.cr0 = 0x8001_0033;
        special.efer = 0x500;
        vcpu.set_sregs(&special)?;
        let mut registers = vcpu.get_regs()?;
        registers.rip = CODE as u64;
        registers.rsp = 0x7000;
        registers.rflags = 2;
        vcpu.set_regs(&registers)
    }
}
