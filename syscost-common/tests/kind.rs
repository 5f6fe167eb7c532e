//! The promises of the packing of kinds.

use std::collections::HashSet;

use syscost_common::kind::{AbiClass, KINDS, NR_OUT_OF_RANGE, NRS_PER_ABI, pack, unpack};

const ABIS: [AbiClass; 3] = [AbiClass::Native, AbiClass::Compat, AbiClass::X32];

#[test]
fn kinds_unpack_to_what_was_packed() {
    let mut seen = HashSet::new();
    for abi in ABIS {
        for nr in 0..NRS_PER_ABI {
            let kind = pack(abi, nr);
            assert_eq!(unpack(kind), Some((abi, nr)));
            assert!(seen.insert(kind), "{kind} stands for two calls");
        }
    }
}

#[test]
fn numbers_out_of_range_share_one_kind_per_abi() {
    for abi in ABIS {
        // A program may pass any number, negative ones included.
        for nr in [NRS_PER_ABI, 1 << 20, 1 << 30, i32::MAX as u32, -1_i32 as u32] {
            assert_eq!(unpack(pack(abi, nr)), Some((abi, NR_OUT_OF_RANGE)));
        }
    }
}

#[test]
fn no_kind_is_changed_by_the_mask_that_bounds_it() {
    assert!(KINDS.is_power_of_two());
    for abi in ABIS {
        for nr in [0, NR_OUT_OF_RANGE, u32::MAX] {
            let kind = pack(abi, nr);
            assert_eq!(kind & (KINDS - 1), kind);
        }
    }
}

#[test]
fn what_no_call_can_have_names_no_abi() {
    for kind in [3 * NRS_PER_ABI, KINDS - 1, KINDS, u32::MAX] {
        assert_eq!(unpack(kind), None);
    }
}
