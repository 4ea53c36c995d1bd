//! Whole random agent programs keep the laws, in the order of asyncio and in a random one.

use miniagents::executor::Schedule;
use miniagents::laws::programs::Program;

pub(crate) fn run(bytes: &[u8]) {
    let program = Program::from_bytes(bytes);
    check(program.clone());
    let seed = bytes.iter().fold(bytes.len() as u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    check(program.with_schedule(Schedule::Seeded(seed)));
}

fn check(program: Program) {
    if let Err(broken) = program.check() {
        panic!("{broken}\n\n{program}\n{}", program.run());
    }
}
