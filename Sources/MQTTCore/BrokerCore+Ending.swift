import MQTTPackets
import MQTTSessions
import MQTTStore

/// The end of a session.
extension BrokerCore {
    /// Subscriptions of a session that are taken out of the tree at once when it ends.
    private static var subscriptionsBuriedAtOnce: Int { 500 }

    /// All that a session has goes [MQTT-4.1.0-2].
    mutating func endSession(_ s: Int) {
        if sessions[s].will != nil { publishWill(of: s) }
        // In the order of their numbers: the order of a dictionary differs from process to process.
        var numbers = sessions[s].subscriptions.values.sorted()
        let isLong = numbers.count > Self.subscriptionsBuriedAtOnce
        // A member that has gone must not be chosen again, least of all for its own messages.
        numbers.removeAll { number in
            guard !isLong || tree.subscriptions[Int(number)].shared >= 0 else { return false }
            tree.remove(number)
            return true
        }
        redistribute(from: s, onlyUnsent: false)
        let name = Array(sessions[s].state.clientID.utf8)
        if sessionOfClient[name] == Int32(s) { sessionOfClient[name] = nil }
        statistics.sharedSubscriptions -= sessions[s].sharedSubscriptions
        sessions[s].sharedSubscriptions = 0
        sessions[s].subscriptionsLeft = numbers
        if sessions[s].state.outbound.stored.hasShared { leave(s) } else { forget(s) }
    }

    /// The end of a session, of which nothing is left for others.
    mutating func forget(_ s: Int) {
        changeStored(s) { .sessionEnded(incarnation: $0) }
        let queue = sessions[s].state.outbound
        drop(.sessionEnded, s, count: queue.unfinished, bytes: queue.bytesQueued)
        statistics.copiesUnfinished -= queue.unfinished
        statistics.queuedBytes -= queue.bytesHeld
        if sessions[s].hasStoredQueue {
            statistics.queuedBytesInWindows -= queue.bytesHeld
            statistics.queuedBytesInStore -= queue.stored.bytes
        }
        tellDrops(s)
        let bytes = sessions[s].subscriptionBytes
        let numbers = sessions[s].subscriptionsLeft
        if !queue.isEmpty || !numbers.isEmpty || !sessions[s].replays.isEmpty {
            discarded.append(
                Discarded(queue: queue, subscriptions: sessions[s].subscriptions, replays: sessions[s].replays)
            )
        }
        sessions[s] = .free
        if numbers.isEmpty {
            statistics.subscriptionBytes -= bytes
            freeSessions.append(Int32(s))
        } else {
            graves.append(Grave(session: Int32(s), subscriptions: numbers, bytes: bytes))
        }
    }

    /// Goes on taking the subscriptions of ended sessions out of the tree, as far as this turn's budget goes.
    mutating func bury() {
        // The other half is for what is due.
        var left = (limits.deliveriesPerTurn + 1) / 2
        while let last = graves.indices.last, left > 0 {
            let count = min(left, graves[last].subscriptions.count)
            for _ in 0..<count { tree.remove(graves[last].subscriptions.removeLast()) }
            left -= count
            guard graves[last].subscriptions.isEmpty else { return }
            statistics.subscriptionBytes -= graves[last].bytes
            freeSessions.append(graves[last].session)
            graves.removeLast()
        }
    }
}
