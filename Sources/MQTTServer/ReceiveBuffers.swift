import Synchronization

/// Bytes of packets that have come in part, of all connections together.
final class ReceiveBuffers: Sendable {
    /// A part of a packet that is always kept, whatever others hold.
    static let bytesAlwaysKept = 64 << 10

    private let bytesMax: Int
    private let bytes = Atomic<Int>(0)

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// One connection holds more, or less. False where it is one too many, and holds more than what is always kept.
    func change(from before: Int, to after: Int) -> Bool {
        let all = bytes.add(after - before, ordering: .relaxed).newValue
        return all <= bytesMax || after <= max(before, Self.bytesAlwaysKept)
    }
}
