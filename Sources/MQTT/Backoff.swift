/// How a client comes back after a connection was lost.
public struct ReconnectPolicy: Sendable, Hashable {
    /// The pause before the first attempt after a connection was lost.
    public var delay = Duration.seconds(1)
    /// The delay doubles with each attempt, up to this.
    public var delayMax = Duration.seconds(60)
    /// Which part of each delay is left to chance, from 0 to 1: clients that were lost together do not return together.
    public var jitter = 0.5
    /// Attempts in a row without success, after which `run()` throws; nil is without end, 0 is none at all.
    public var attemptsMax: Int?
    /// Whether a server that has refused a client for good is asked again: for credentials that are made afresh.
    public var retriesRefusals = false

    /// A policy that tries for ever.
    public init() {}

    /// A client that is lost once its connection is.
    public static var never: ReconnectPolicy {
        var policy = ReconnectPolicy()
        policy.attemptsMax = 0
        return policy
    }
}

/// The delays of one series of attempts.
package struct Backoff {
    let policy: ReconnectPolicy
    /// From 0 to 1.
    let random: @Sendable () -> Double
    private var attempts = 0

    package init(_ policy: ReconnectPolicy, random: @escaping @Sendable () -> Double) {
        self.policy = policy
        self.random = random
    }

    /// The delay before the next attempt; nil where there is to be none.
    package mutating func next() -> Duration? {
        if let most = policy.attemptsMax, attempts >= most { return nil }
        var delay = policy.delay
        for _ in 0..<min(attempts, 62) where delay < policy.delayMax { delay = delay * 2 }
        attempts += 1
        return min(delay, policy.delayMax) * (1 - policy.jitter * random())
    }

    /// A connection was made.
    package mutating func succeeded() { attempts = 0 }
}
