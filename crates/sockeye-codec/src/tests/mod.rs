//! The codec against slow and simple twins, under every cut of its input.

mod advisories;
mod connection;
mod encode;
mod frame;
mod limits;
mod mask;
mod oracle;
mod replay;
mod streams;
mod utf8;

/// Runs it with each instruction set of this processor, which it is told by name.
fn with_each_instruction_set(run: impl Fn(&str)) {
    // Under Miri the best one that it knows: `mask` has them all.
    let count = if cfg!(miri) { 1 } else { usize::MAX };
    for set in crate::arch::forced::instruction_sets().into_iter().take(count) {
        set.force(|| run(set.name));
    }
}
