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
        if let at = sessionOfClient.index(forKey: name), sessionOfClient.values[at] == s {
            sessionOfClient.remove(at: at)
        }
        statistics.sharedSubscriptions -= sessions[s].sharedSubscriptions
        sessions[s].sharedSubscriptions = 0
        guard sessions[s].state.outbound.stored.hasShared else { return forget(s, numbers) }
        subscriptionsLeft[Int32(s)] = numbers
        leave(s)
    }

    /// The end of a session, of which nothing is left for others.
    mutating func forget(_ s: Int, _ subscriptionsLeft: [Int32]) {
        changeStored(s) { .sessionEnded(incarnation: $0) }
        let (unfinished, held) = (sessions[s].state.outbound.unfinished, sessions[s].state.outbound.bytesHeld)
        drop(.sessionEnded, s, count: unfinished, bytes: sessions[s].state.outbound.bytesQueued)
        statistics.copiesUnfinished -= unfinished
        statistics.queuedBytes -= held
        if sessions[s].hasStoredQueue {
            statistics.queuedBytesInWindows -= held
            statistics.queuedBytesInStore -= sessions[s].state.outbound.stored.bytes
        }
        tellDrops(s)
        let bytes = sessions[s].subscriptionBytes
        if held > 0 || !subscriptionsLeft.isEmpty || !sessions[s].replays.isEmpty {
            discarded.append(
                Discarded(
                    queue: sessions[s].state.outbound,
                    subscriptions: sessions[s].subscriptions,
                    replays: sessions[s].replays
                )
            )
        }
        sessions[s] = .free
        if subscriptionsLeft.isEmpty {
            statistics.subscriptionBytes -= bytes
            freeSessions.append(Int32(s))
        } else {
            graves.append(Grave(session: Int32(s), subscriptions: subscriptionsLeft, bytes: bytes))
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
