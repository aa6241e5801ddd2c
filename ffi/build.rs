//! Generates bindings for the installed DPDK and compiles the shim over its static inlines.

use std::env;
use std::path::PathBuf;

use bindgen::callbacks::{IntKind, ParseCallbacks};

/// Release line whose ABI this crate is written for: DPDK 22.11 LTS (ABI 23).
const FIRST_VERSION: &str = "22.11";
const NEXT_VERSION: &str = "23.0";

/// Gives flag words their full width: bindgen would pick the smallest integer per constant.
#[derive(Debug)]
struct FlagWidths;

impl ParseCallbacks for FlagWidths {
    fn int_macro(&self, name: &str, _value: i64) -> Option<IntKind> {
        let wide = ["RTE_MBUF_F_", "RTE_ETH_RX_OFFLOAD_", "RTE_ETH_TX_OFFLOAD_", "RTE_ETH_RSS_"];
        wide.iter().any(|prefix| name.starts_with(prefix)).then_some(IntKind::U64)
    }
}

fn main() {
    for file in ["build.rs", "wrapper.h", "shim.h", "shim.c"] {
        println!("cargo:rerun-if-changed={file}");
    }
    let library = pkg_config::Config::new()
        .range_version(FIRST_VERSION..NEXT_VERSION)
        .probe("libdpdk")
        .unwrap_or_else(|error| {
            panic!(
                "DPDK {FIRST_VERSION} was not found by pkg-config.\n\
                 On Debian 12: apt-get install libdpdk-dev pkg-config clang libclang-dev\n\
                 pkg-config said: {error}"
            )
        });
    // An upgrade of DPDK changes this header: then layouts must be read anew.
    for path in &library.include_paths {
        let header = path.join("rte_build_config.h");
        if header.exists() {
            println!("cargo:rerun-if-changed={}", header.display());
        }
    }
    let includes: Vec<String> =
        library.include_paths.iter().map(|path| format!("-I{}", path.display())).collect();
    // pkg-config lists these two, but its crate drops them; without them struct layouts may differ.
    let config = ["-include", "rte_config.h", "-march=corei7"];

    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(&includes)
        .clang_args(config)
        .clang_arg("-D_GNU_SOURCE")
        .use_core()
        .layout_tests(true)
        .generate_comments(false)
        .derive_default(true)
        .prepend_enum_name(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .clang_macro_fallback()
        .clang_macro_fallback_build_dir(&out)
        .parse_callbacks(Box::new(FlagWidths))
        .allowlist_function("shim_.*")
        .allowlist_function("rte_eal_(init|cleanup|remote_launch|wait_lcore|has_hugepages|get_runtime_dir)")
        .allowlist_function("rte_eth_dev_((rx|tx)_offload_name|configure|start|stop|close|info_get|set_mtu|get_mtu|count_avail|get_port_by_name|socket_id|is_valid_port|adjust_nb_rx_tx_desc|set_link_up|set_link_down)")
        .allowlist_function("rte_eth_(rx_queue_setup|tx_queue_setup|promiscuous_enable|macaddr_get|link_get_nowait|stats_get|xstats_get|xstats_get_names)")
        .allowlist_function("rte_pktmbuf_(pool_init|init|free_bulk)")
        .allowlist_function("rte_mempool_(create_empty|set_ops_byname|populate_default|populate_iova|obj_iter|avail_count|in_use_count|free)")
        .allowlist_function("rte_eal_hotplug_(add|remove)")
        .allowlist_function("rte_mbuf_best_mempool_ops")
        .allowlist_function("rte_(strerror|get_tsc_hz|socket_count|socket_id_by_idx|lcore_to_socket_id|openlog_stream)")
        // glibc's stream over callbacks: what EAL writes its log to.
        .allowlist_function("fopencookie")
        .allowlist_type("rte_(mbuf|mempool|pktmbuf_pool_private|eth_.*)")
        .allowlist_var("RTE_(MBUF_F_.*|MEMPOOL_F_.*|MBUF_DEFAULT_.*|PKTMBUF_HEADROOM|ETH_(RX|TX)_OFFLOAD_.*|ETH_MQ_.*|ETH_RSS_.*|ETH_LINK_.*|ETH_NAME_MAX_LEN|ETHER_.*|VER_(YEAR|MONTH|MINOR)|MAX_LCORE|MAX_ETHPORTS|LOG_.*)")
        // Thread-local in DPDK, plain statics to bindgen: they link, and crash when touched.
        .blocklist_item("per_lcore_.*")
        .generate()
        .expect("bindgen could not translate the DPDK headers")
        .write_to_file(out.join("bindings.rs"))
        .expect("OUT_DIR is writable");

    let mut shim = cc::Build::new();
    shim.file("shim.c").includes(&library.include_paths).opt_level(3);
    for flag in config {
        shim.flag(flag);
    }
    shim.flag("-Wno-unused-parameter").compile("sluice_dpdk_shim");
}
