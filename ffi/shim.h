/* Functions for what DPDK has only as static inlines or thread-local variables. No logic. */
#ifndef SLUICE_SHIM_H
#define SLUICE_SHIM_H

#include <stdint.h>
#include <rte_mbuf.h>

/* rte_eth_rx_burst(): received packets go to rx_pkts; returns how many, at most nb_pkts. */
uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **rx_pkts, uint16_t nb_pkts);
/* rte_eth_tx_burst(): returns how many of tx_pkts were taken, from the front. */
uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **tx_pkts, uint16_t nb_pkts);
/* rte_pktmbuf_alloc(): one empty mbuf with the default headroom, or NULL. */
struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool);
/* rte_pktmbuf_alloc_bulk(): fills all count mbufs and returns 0, or takes none and returns < 0. */
int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
/* rte_errno of the calling thread. */
int shim_errno(void);
/* rte_lcore_id() of the calling thread; UINT32_MAX when it is not an lcore. */
unsigned int shim_lcore_id(void);

#endif
