//! Whole random agent programs keep the laws.

use miniagents::laws::programs::Program;

pub(crate) fn run(bytes: &[u8]) {
    let program = Program::from_bytes(bytes);
    if let Err(broken) = program.check() {
        panic!("{broken}\n\n{program}\n{}", program.run());
    }
}
