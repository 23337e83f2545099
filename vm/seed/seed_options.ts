/**
 * What a guest is told on its first boot, as plain data: cloud_init.ts writes it down.
 *
 * @module
 */

/** How the guest's first network card is set up. */
export type SeedNetwork =
  | {
    /** The filtered cable: a static address and no default route. */
    readonly kind: "cable";
    /** Hardware address of the card, `52:54:00:..`. */
    readonly mac: string;
  }
  | {
    /** Whatever the network hands out: QEMU's user network. */
    readonly kind: "dhcp";
    /** Hardware address of the card. @default {"52:54:00:12:34:56"}, QEMU's own */
    readonly mac?: string;
  }
  | {
    /** No card. */
    readonly kind: "none";
  };

/** The guest's end of the tunnel. Keys are 32 bytes in base64. */
export interface SeedWireGuard {
  /** The guest's private key. */
  readonly privateKey: string;
  /** The guest's address inside the tunnel, e.g. `10.0.0.2/32`. */
  readonly address: string;
  /** The borrower's public key. */
  readonly peerPublicKey: string;
  /** The preshared key of the two. */
  readonly presharedKey?: string;
  /** Where the cable takes tunnel packets. */
  readonly endpoint: "192.168.100.1:51820";
  /** Seconds between keepalives, 0 to 65535; 0 sends none. */
  readonly keepaliveSeconds: number;
  /** Largest packet inside the tunnel, in bytes. */
  readonly mtu: 1420;
}

/** What goes into a seed. */
export interface SeedOptions {
  /** Id of the VM: 16 hex characters. cloud-init runs again when it changes. */
  readonly vmId: string;
  /** Host name: 1 to 63 letters, digits and hyphens. */
  readonly hostname: string;
  /** The user that may log in. */
  readonly user: "omerta";
  /** Public keys that may log in, one line each. */
  readonly sshAuthorizedKeys: readonly string[];
  /** The guest's only SSH host key. */
  readonly hostKey: {
    /** Private key, OpenSSH format. */
    readonly privatePem: string;
    /** Public key, `ssh-ed25519 AAAA...`. */
    readonly publicLine: string;
  };
  /** Its network card. */
  readonly network: SeedNetwork;
  /** Its tunnel; none when left out. */
  readonly wireguard?: SeedWireGuard;
  /** Whether the guest refuses what does not belong to the tunnel. */
  readonly firewall: boolean;
  /**
   * Hardware address of a second card, behind which the hypervisor is a router: its default route
   * is the guest's, and the tunnel keeps 10.0.0.0/16. None when left out.
   */
  readonly natMac?: string;
  /** Whether its SSH server also calls the host, for a boot test. @default {false} */
  readonly callsHost?: boolean;
}
