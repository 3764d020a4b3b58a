//! Runs a kernel's PTX, thread by thread in an order that a seed decides; knows the instructions that the test kernels
//! are made of and refuses all others. It measures nothing, and says nothing of the machine code that a driver makes.
//!
//! It is stricter than a GPU: a register or a shared byte that is read before it is written, an address outside of what
//! the kernel was given, a second write of a result and a barrier that not all threads reach are faults. Threads are
//! interrupted between any two instructions, so that a barrier that is missing shows as wrong numbers. The meaning of the
//! instructions is that of NVIDIA's PTX ISA, release 9.0.

#![expect(
    clippy::cast_possible_truncation,
    reason = "registers are of 64 bits here, and narrower ones are cut on purpose"
)]

use std::collections::HashMap;

/// What one launch gives: the output, a number that was never written being `None`, and the total.
pub(crate) type Numbers = (Vec<Option<u32>>, u64);

const THREADS: usize = 256;
const WARP: usize = 32;
/// Where the three buffers lie: beyond 32 bits, so that an address that is cut off hits nothing.
const IN: u64 = 0x7100_0000_0000;
const OUT: u64 = 0x7200_0000_0000;
const TOTAL: u64 = 0x7300_0000_0000;
/// The block of a cluster in an address of shared memory, one more than its rank; 0 is the thread's own.
const RANK: u32 = 24;

#[derive(Clone, Debug)]
enum Operand {
    Register(usize),
    Special(String),
    Number(u64),
    /// A base and an offset: `[%rd10+1024]`.
    Memory(Box<Self>, u64),
    Parameter(usize),
}

#[derive(Clone, Debug)]
struct Instruction {
    /// A predicate's register, and whether it must be false.
    guard: Option<(usize, bool)>,
    name: Vec<String>,
    operands: Vec<Operand>,
    target: Option<usize>,
}

/// One kernel of a PTX module.
pub(crate) struct Kernel {
    code: Vec<Instruction>,
    registers: usize,
    shared: usize,
    /// Blocks of a cluster.
    cluster: usize,
}

impl Kernel {
    /// Reads the kernel `entry` of a module.
    pub(crate) fn read(module: &str, entry: &str) -> Result<Self, String> {
        let text: String = module.lines().map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n").collect();
        let head = format!(".entry {entry}(");
        let rest = text.split_once(&head).ok_or_else(|| format!("no entry {entry}"))?.1;
        let rest = rest.split(".entry ").next().unwrap_or(rest);
        let (parameters, rest) = rest.split_once(')').ok_or("no end of the parameters")?;
        let parameters: Vec<&str> =
            parameters.split(',').filter_map(|parameter| parameter.split_whitespace().next_back()).collect();
        let (directives, body) = rest.split_once('{').ok_or("no body")?;
        let cluster = directives.split_once(".reqnctapercluster").map_or(Ok(1), |(_, after)| {
            after.split(',').next().unwrap_or("").trim().parse().map_err(|_| format!("cluster of {after}"))
        })?;

        let mut shared = HashMap::new();
        let mut size = 0;
        // Those of other kernels of the module take room and do no harm.
        for line in text.split([';', '{', '}']).map(str::trim).filter(|line| line.starts_with(".shared")) {
            let (name, length) =
                line.split_whitespace().next_back().and_then(|last| last.split_once('[')).ok_or(line)?;
            shared.insert(name.to_owned(), size as u64);
            size += length.trim_end_matches(']').parse::<usize>().map_err(|_| line)?.next_multiple_of(16);
        }

        let mut labels = HashMap::new();
        let mut statements = Vec::new();
        for statement in body.replace(['{', '}'], "\n").split(';') {
            let mut rest = statement.trim();
            while let Some((label, after)) = rest.split_once(':').filter(|(label, _)| is_label(label)) {
                labels.insert(label.to_owned(), statements.len());
                rest = after.trim();
            }
            if !rest.is_empty() && !rest.starts_with('.') {
                statements.push(rest.to_owned());
            }
        }
        let mut names = HashMap::new();
        let mut code = Vec::new();
        for statement in &statements {
            let mut operand = |text: &str| -> Result<Operand, String> {
                let memory = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                let (base, offset) = memory.unwrap_or(text).split_once('+').unwrap_or((memory.unwrap_or(text), "0"));
                let base = if let Some(at) = parameters.iter().position(|name| *name == base) {
                    Operand::Parameter(at)
                } else if let Some(&at) = shared.get(base) {
                    Operand::Number(at)
                } else if base.starts_with('%') && base.contains('.') {
                    Operand::Special(base.to_owned())
                } else if base.starts_with('%') {
                    let next = names.len();
                    Operand::Register(*names.entry(base.to_owned()).or_insert(next))
                } else {
                    Operand::Number(number(base)?)
                };
                let offset = number(offset)?;
                Ok(if memory.is_some() { Operand::Memory(Box::new(base), offset) } else { base })
            };
            let mut rest = statement.as_str();
            let mut guard = None;
            if let Some(after) = rest.strip_prefix('@') {
                let (predicate, after) = after.split_once(char::is_whitespace).ok_or(statement.as_str())?;
                let name = predicate.trim_start_matches('!');
                if let Operand::Register(register) = operand(name)? {
                    guard = Some((register, predicate.starts_with('!')));
                }
                rest = after.trim();
            }
            let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let name: Vec<String> = name.split('.').map(str::to_owned).collect();
            let mut arguments: Vec<&str> = arguments.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
            let mut target = None;
            if name[0] == "bra" {
                let label = arguments.pop().ok_or(statement.as_str())?;
                target = Some(*labels.get(label).ok_or_else(|| format!("no label {label}"))?);
            }
            let operands = arguments.into_iter().map(&mut operand).collect::<Result<_, _>>()?;
            code.push(Instruction { guard, name, operands, target });
        }
        Ok(Self { code, registers: names.len(), shared: size, cluster })
    }

    /// Launches it with 256 threads a block. `total` is what the total was before.
    pub(crate) fn launch(&self, blocks: usize, input: &[u32], total: u64, seed: u64) -> Result<Numbers, String> {
        if !blocks.is_multiple_of(self.cluster) {
            return Err(format!("{blocks} blocks in clusters of {}", self.cluster));
        }
        let threads = (0..blocks * THREADS).map(|_| Thread {
            at: 0,
            registers: vec![None; self.registers],
            state: State::Ready,
            copies: Vec::new(),
            arrived: 0,
        });
        let mut grid = Grid {
            kernel: self,
            blocks,
            input,
            threads: threads.collect(),
            shared: vec![vec![None; self.shared]; blocks],
            clusters: vec![(0, 0); blocks / self.cluster],
            out: vec![None; input.len()],
            total,
        };
        let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
        let mut order: Vec<usize> = (0..grid.threads.len()).collect();
        for at in 1..order.len() {
            order.swap(at, random.below(at + 1));
        }
        // With an odd seed the first that can go on runs until it waits, and now and then becomes the last instead: so one
        // may lag behind all others. With an even one all go on beside each other.
        let lagging = seed % 2 == 1;
        loop {
            let mut ready = (0..order.len()).filter(|&at| grid.threads[order[at]].state == State::Ready);
            let turns: Vec<usize> = if lagging { ready.next().into_iter().collect() } else { ready.collect() };
            if turns.is_empty() {
                let all = grid.threads.iter().all(|thread| thread.state == State::Ended);
                return if all {
                    Ok((grid.out, grid.total))
                } else {
                    Err("threads wait for others for ever".to_owned())
                };
            }
            for _ in 0..turns.len() {
                let place = turns[random.below(turns.len())];
                let thread = order[place];
                let mut left = if lagging { usize::MAX } else { random.below(24) + 1 };
                while left > 0 && grid.threads[thread].state == State::Ready {
                    grid.step(thread)?;
                    left -= 1;
                    if lagging && random.below(1000) == 0 {
                        order.remove(place);
                        order.push(thread);
                        left = 0;
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    Barrier,
    /// Until the cluster has met more often than that.
    Cluster(u64),
    Warp,
    Ended,
}

struct Thread {
    at: usize,
    registers: Vec<Option<u64>>,
    state: State,
    /// Copies that may happen at any time until they are waited for: they happen as late as they may.
    copies: Vec<(u64, u64)>,
    /// How often its cluster had met when it arrived.
    arrived: u64,
}

struct Grid<'a> {
    kernel: &'a Kernel,
    blocks: usize,
    input: &'a [u32],
    threads: Vec<Thread>,
    shared: Vec<Vec<Option<u8>>>,
    /// How often each has met, and how many threads have arrived since.
    clusters: Vec<(u64, usize)>,
    out: Vec<Option<u32>>,
    total: u64,
}

impl Grid<'_> {
    /// Lets a thread wait, and all go on that waited for it and for no other.
    fn wait(&mut self, thread: usize, state: State) -> Result<(), String> {
        self.threads[thread].state = state;
        let size = match state {
            State::Ready | State::Ended => return Ok(()),
            State::Warp => WARP,
            State::Barrier => THREADS,
            State::Cluster(_) => THREADS * self.kernel.cluster,
        };
        let at = self.threads[thread].at;
        let group = thread / size;
        let threads = &mut self.threads[group * size..(group + 1) * size];
        match state {
            State::Cluster(_) => {
                let (met, arrived) = &mut self.clusters[group];
                if *arrived == size {
                    (*met, *arrived) = (*met + 1, 0);
                }
                for thread in threads {
                    if matches!(thread.state, State::Cluster(before) if before < *met) {
                        thread.state = State::Ready;
                    }
                }
            }
            _ if threads.iter().any(|it| it.state != state || (state == State::Warp && it.at != at)) => {}
            State::Warp => {
                // Each left what it adds where the sum goes.
                let Operand::Register(to) = self.kernel.code[at - 1].operands[0] else { return Err("redux".into()) };
                let sum = threads.iter().filter_map(|thread| thread.registers[to]).sum::<u64>() & 0xffff_ffff;
                for thread in threads {
                    thread.registers[to] = Some(sum);
                    thread.state = State::Ready;
                }
            }
            _ => {
                for thread in threads {
                    thread.state = State::Ready;
                }
            }
        }
        Ok(())
    }

    fn value(&self, thread: usize, operand: &Operand) -> Result<u64, String> {
        Ok(match operand {
            Operand::Register(at) => {
                self.threads[thread].registers[*at].ok_or_else(|| format!("register {at} is read before it is set"))?
            }
            Operand::Number(number) => *number,
            Operand::Special(name) => match name.as_str() {
                "%tid.x" => (thread % THREADS) as u64,
                "%ctaid.x" => (thread / THREADS) as u64,
                "%nctaid.x" => self.blocks as u64,
                "%ntid.x" => THREADS as u64,
                _ => return Err(format!("the register {name} is not known here")),
            },
            Operand::Memory(base, offset) => self.value(thread, base)?.wrapping_add(*offset),
            Operand::Parameter(at) => *[IN, OUT, TOTAL, self.input.len() as u64].get(*at).ok_or("a fifth parameter")?,
        })
    }

    /// The bytes of a shared address: which block's, and where there.
    fn place(&self, thread: usize, address: u64, size: usize) -> Result<(usize, usize), String> {
        // A sum of 32 bits starts again at zero.
        let address = address & 0xffff_ffff;
        let own = thread / THREADS;
        let block = match (address >> RANK) as usize {
            0 => own,
            rank if rank <= self.kernel.cluster => own / self.kernel.cluster * self.kernel.cluster + rank - 1,
            _ => return Err(format!("{address:#x} is no shared address")),
        };
        let at = (address & ((1 << RANK) - 1)) as usize;
        if at + size > self.kernel.shared || !at.is_multiple_of(size) {
            return Err(format!("{address:#x} is outside of shared memory, or not aligned"));
        }
        Ok((block, at))
    }

    fn load(&self, thread: usize, space: &str, address: u64, size: usize) -> Result<u64, String> {
        let outside = || format!("{address:#x} cannot be read");
        if space == "shared" {
            let (block, at) = self.place(thread, address, size)?;
            let bytes = self.shared[block][at..at + size].iter().rev();
            return bytes
                .clone()
                .try_fold(0, |value, byte| Some(value << 8 | u64::from((*byte)?)))
                .ok_or_else(|| format!("shared {address:#x} is read before it is written"));
        }
        if address == TOTAL && size == 8 {
            return Ok(self.total);
        }
        let at = address.checked_sub(IN).filter(|at| size == 4 && at.is_multiple_of(4)).ok_or_else(outside)?;
        self.input.get((at / 4) as usize).map(|&value| value.into()).ok_or_else(outside)
    }

    fn store(&mut self, thread: usize, space: &str, address: u64, size: usize, value: u64) -> Result<(), String> {
        if space == "shared" {
            let (block, at) = self.place(thread, address, size)?;
            for (slot, byte) in self.shared[block][at..at + size].iter_mut().zip(value.to_le_bytes()) {
                *slot = Some(byte);
            }
            return Ok(());
        }
        if address == TOTAL && size == 8 {
            self.total = value;
            return Ok(());
        }
        let outside = || format!("{address:#x} cannot be written");
        let at = address.checked_sub(OUT).filter(|at| size == 4 && at.is_multiple_of(4)).ok_or_else(outside)?;
        let slot = self.out.get_mut((at / 4) as usize).ok_or_else(outside)?;
        if slot.replace(value as u32).is_some() {
            return Err(format!("result {} is written twice", at / 4));
        }
        Ok(())
    }

    fn step(&mut self, thread: usize) -> Result<(), String> {
        let kernel = self.kernel;
        let at = self.threads[thread].at;
        let instruction = kernel.code.get(at).ok_or("the kernel has no end")?;
        self.threads[thread].at += 1;
        if let Some((register, negated)) = instruction.guard {
            let holds = self.threads[thread].registers[register].ok_or("a predicate is read before it is set")? != 0;
            if holds == negated {
                return Ok(());
            }
        }
        let name: Vec<&str> = instruction.name.iter().map(String::as_str).collect();
        let operands = &instruction.operands;
        let get = |grid: &Self, at: usize| grid.value(thread, operands.get(at).ok_or("too few operands")?);
        let kind = *name.last().unwrap_or(&"");
        let bits = kind.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse::<u32>().unwrap_or(32);
        let size = (bits / 8) as usize;
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let space = if name.iter().any(|it| it.starts_with("shared")) { "shared" } else { "global" };
        let result = match name[0] {
            "ret" => {
                return self.wait(thread, State::Ended);
            }
            "bra" => {
                self.threads[thread].at = instruction.target.ok_or("no target")?;
                return Ok(());
            }
            "bar" if get(self, 0)? == 0 => {
                return self.wait(thread, State::Barrier);
            }
            "barrier" if name[1] == "cluster" => {
                let (met, arrived) = &mut self.clusters[thread / THREADS / kernel.cluster];
                if name[2] == "arrive" {
                    *arrived += 1;
                    self.threads[thread].arrived = *met;
                    return Ok(());
                }
                return self.wait(thread, State::Cluster(self.threads[thread].arrived));
            }
            "cp" if name[2] == "wait_all" => {
                for (to, from) in std::mem::take(&mut self.threads[thread].copies) {
                    let value = self.load(thread, "global", from, 4)?;
                    self.store(thread, "shared", to, 4, value)?;
                }
                return Ok(());
            }
            "cp" if get(self, 2)? == 4 => {
                let copy = (get(self, 0)?, get(self, 1)?);
                self.threads[thread].copies.push(copy);
                return Ok(());
            }
            "st" => {
                let (address, value) = (get(self, 0)?, get(self, 1)?);
                return self.store(thread, space, address, size, value & mask);
            }
            "ld" if name[1] == "param" => get(self, 1)?,
            "ld" => self.load(thread, space, get(self, 1)?, size)?,
            "atom" | "red" if name.contains(&"add") => {
                let first = usize::from(name[0] == "atom");
                let (address, value) = (get(self, first)?, get(self, first + 1)?);
                let before = self.load(thread, space, address, size)?;
                self.store(thread, space, address, size, before.wrapping_add(value) & mask)?;
                if first == 0 {
                    return Ok(());
                }
                before
            }
            "redux" if get(self, 2)? & 0xffff_ffff == 0xffff_ffff => {
                let own = get(self, 1)?;
                self.set(thread, operands, own & mask)?;
                return self.wait(thread, State::Warp);
            }
            "mapa" => {
                let (address, rank) = (get(self, 1)? & ((1 << RANK) - 1), get(self, 2)?);
                if rank as usize >= kernel.cluster {
                    return Err(format!("block {rank} of a cluster of {}", kernel.cluster));
                }
                address | (rank + 1) << RANK
            }
            // Addresses of global memory are generic ones; those of shared memory are not asked to be.
            "cvta" if name[1] == "to" && space == "global" => get(self, 1)?,
            "cvt" if name.len() == 3 && matches!(name[2], "u32" | "u64") => {
                get(self, 1)? & if name[1] == "u32" || name[2] == "u32" { 0xffff_ffff } else { u64::MAX }
            }
            "mov" => get(self, 1)?,
            "add" => get(self, 1)?.wrapping_add(get(self, 2)?),
            "sub" => get(self, 1)?.wrapping_sub(get(self, 2)?),
            "mul" if name[1] == "lo" => get(self, 1)?.wrapping_mul(get(self, 2)?),
            "mul" if name[1] == "wide" && kind == "u32" => {
                let product = (get(self, 1)? & mask) * (get(self, 2)? & mask);
                return self.set(thread, operands, product);
            }
            "xor" => get(self, 1)? ^ get(self, 2)?,
            "and" => get(self, 1)? & get(self, 2)?,
            "or" => get(self, 1)? | get(self, 2)?,
            "not" => !get(self, 1)?,
            "shl" => get(self, 1)?.checked_shl(get(self, 2)? as u32).unwrap_or(0),
            "shr" if kind.starts_with('u') => (get(self, 1)? & mask).checked_shr(get(self, 2)? as u32).unwrap_or(0),
            "dp4a" if name[1..] == ["u32", "u32"] => {
                let (one, two) = ((get(self, 1)? as u32).to_le_bytes(), (get(self, 2)? as u32).to_le_bytes());
                let products = one.iter().zip(two).map(|(&one, two)| u64::from(one) * u64::from(two));
                products.sum::<u64>().wrapping_add(get(self, 3)?)
            }
            "setp" => {
                let (one, two) = (get(self, 1)? & mask, get(self, 2)? & mask);
                let holds = match (name[1], kind.starts_with('s')) {
                    ("eq", _) => one == two,
                    ("ne", _) => one != two,
                    ("lt", false) => one < two,
                    ("le", false) => one <= two,
                    ("gt", false) => one > two,
                    ("ge", false) => one >= two,
                    _ => return Err(format!("{} is not known here", name.join("."))),
                };
                holds.into()
            }
            _ => return Err(format!("{} is not known here", name.join("."))),
        };
        self.set(thread, operands, result & mask)
    }

    fn set(&mut self, thread: usize, operands: &[Operand], value: u64) -> Result<(), String> {
        let Some(Operand::Register(to)) = operands.first() else { return Err("a result goes nowhere".to_owned()) };
        self.threads[thread].registers[*to] = Some(value);
        Ok(())
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches('U');
    let parsed = match (digits.strip_prefix("0x"), digits.strip_prefix('-')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
        (_, Some(positive)) => positive.parse::<u64>().ok().map(u64::wrapping_neg),
        _ => digits.parse().ok(),
    };
    parsed.ok_or_else(|| format!("{text} is no number"))
}

/// Numbers that a seed decides (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
