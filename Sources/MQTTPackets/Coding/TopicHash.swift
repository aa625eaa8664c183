/// A hash of bytes under a seed that the broker chooses, so that no client can pick topics that collide.
///
/// The same seed gives the same values in every process, which keeps the core deterministic.
package enum TopicHash {
    package static func hash(_ bytes: Span<UInt8>, seed: UInt64) -> UInt64 {
        let raw = bytes.bytes
        let count = raw.byteCount
        var state = seed ^ UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
        var at = 0
        while at &+ 8 <= count {
            state = mix(state ^ raw.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
            at &+= 8
        }
        var tail: UInt64 = 0
        while at < count {
            tail = tail << 8 | UInt64(raw.unsafeLoadUnaligned(fromByteOffset: at, as: UInt8.self))
            at &+= 1
        }
        return mix(state ^ tail ^ 0xA076_1D64_78BD_642F)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
        return product.high ^ product.low ^ value
    }
}
