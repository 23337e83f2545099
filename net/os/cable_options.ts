/**
 * What both implementations of a guest's cable take.
 *
 * @module
 */

/** The two ends of a cable: unix datagram sockets, one Ethernet frame per datagram. */
export interface CableOptions {
  /** Path that this side binds, with mode 0600; removed when the cable is closed. */
  readonly localPath: string;
  /** Path that the other side binds. It need not be there yet. */
  readonly peerPath: string;
}
