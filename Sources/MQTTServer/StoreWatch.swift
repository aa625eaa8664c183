import Logging
import MQTTStore
import Synchronization

/// Asks the store what it says of itself, and logs at once what somebody has to know.
final class StoreWatch: Sendable {
    private struct Heard {
        var last = StoreStatistics()
        /// The longest wait for the disk since metrics were last recorded, in microseconds.
        var longestWait: UInt64 = 0
    }

    private let store: any MessageStore
    private let logger: Logger
    private let heard = Mutex(Heard())

    init(_ store: any MessageStore, _ logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// Tells `body` what the store says now. Nobody is told anything older than what others were told before.
    func look<Result: Sendable>(_ body: (StoreStatistics) -> Result) -> Result {
        heard.withLock { heard in
            let now = store.statistics
            let before = heard.last
            heard.last = now
            heard.last.syncMicrosecondsMax = max(before.syncMicrosecondsMax, now.syncMicrosecondsMax)
            heard.longestWait = max(heard.longestWait, now.syncMicrosecondsMax)
            defer { log(now, before) }
            return body(now)
        }
    }

    private func log(_ now: StoreStatistics, _ before: StoreStatistics) {
        if now.isFull && !before.isFull {
            logger.error("the store is full: new messages, subscriptions and sessions wait until there is room")
        } else if before.isFull && !now.isFull {
            logger.notice("the store has room again")
        }
        if let failure = now.lastFailure, failure != before.lastFailure {
            logger.error("the store has failed", metadata: ["reason": "\(failure)"])
        }
    }

    /// As it was last heard; the longest wait is that since the store was opened.
    var statistics: StoreStatistics { heard.withLock(\.last) }

    /// The longest wait since the last call is among them.
    func takeStatistics() -> StoreStatistics {
        heard.withLock { heard in
            var statistics = heard.last
            statistics.syncMicrosecondsMax = heard.longestWait
            heard.longestWait = 0
            return statistics
        }
    }
}
