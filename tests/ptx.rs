//! The PTX that the program carries computes the right numbers, and would not without what it tries out: run by
//! `support/ptx.rs`, without a GPU. What compilers make of the sources is run in `nvcc.rs`.

#[path = "support/ptx.rs"]
mod ptx;

use gpu_doctor::kernel::{ENTRY, PTX, grid, input, reference};

/// The first launch out of `seeds` that does not give the right numbers, with what it gave instead.
fn fault(module: &str, seeds: std::ops::Range<u64>) -> Option<String> {
    let kernel = ptx::Kernel::read(module, ENTRY).unwrap_or_else(|why| panic!("{why}"));
    let (blocks, count) = grid(2);
    let input = input(count);
    let (out, total) = reference(&input);
    let want = (out.into_iter().map(Some).collect(), total);
    seeds.into_iter().find_map(|seed| match kernel.launch(blocks as usize, &input, 0, seed) {
        Ok(numbers) if numbers == want => None,
        Ok(_) => Some("wrong numbers".to_owned()),
        Err(why) => Some(why),
    })
}

#[test]
fn the_embedded_kernel_computes_what_it_must() {
    assert_eq!(fault(PTX, 0..8), None);
}

/// The kernel with one thing changed.
fn changed(from: &str, to: &str, which: usize) -> String {
    let (at, _) = PTX.match_indices(from).nth(which).unwrap_or_else(|| panic!("{from} is not in the kernel"));
    format!("{}{to}{}", &PTX[..at], &PTX[at + from.len()..])
}

#[test]
fn without_a_barrier_or_the_atomic_its_numbers_are_wrong() {
    let barriers = PTX.matches("bar.sync").count();
    for which in 0..barriers {
        let found = fault(&changed("bar.sync \t0;", "", which), 0..8);
        // Past the last one only the thread goes on that wrote what it reads.
        assert_eq!(found.is_some(), which + 1 < barriers, "barrier {which} of {barriers}: {found:?}");
    }
    let plain = "ld.global.u64 %rd52, [%rd51]; add.s64 %rd52, %rd52, %rd50; st.global.u64 [%rd51], %rd52;";
    assert!(fault(&changed("atom.global.add.u64 \t%rd52, [%rd51], %rd50;", plain, 0), 0..64).is_some());
    // A bounds check less, and a constant that is off by one.
    assert!(fault(&changed("@%p2 bra \t$L__BB0_6;", "", 0), 0..1).is_some());
    assert!(fault(&changed("2146121005", "2146121004", 1), 0..1).is_some());
}
