/// The quality of service of a message or the most that a subscription grants (MQTT 5.0, section 4.3).
public enum QoS: UInt8, Sendable, Hashable, CaseIterable, Comparable {
    /// The message arrives once or not at all.
    case atMostOnce = 0
    /// The message arrives, perhaps more than once.
    case atLeastOnce = 1
    /// The message arrives exactly once.
    case exactlyOnce = 2

    /// Orders by strength of the promise.
    @inlinable
    public static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}
