import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore

extension BrokerCore {
    /// Retained messages that wait in a session's queue, above which the replay pauses.
    private static var replayQueuedMax: Int { 200 }
    /// Replays with wildcards of one session, above which its client is not read from.
    private static var replaysMax: Int { 1_000 }

    /// Whether a session that is read from all the same, for its acknowledgements, has more than one SUBSCRIBE adds.
    @inline(__always)
    func hasTooManyReplays(_ s: Int) -> Bool {
        sessions[s].replays.wildCount >= Self.replaysMax + limits.filtersMax
    }

    mutating func beginReplay(
        _ wanted: Subscribe.Filter,
        _ filter: ParsedFilter,
        _ identifier: UInt32,
        isNew: Bool,
        _ s: Int
    ) {
        let subscription = Array(wanted.filter.utf8)
        if !isNew { endReplay(subscription, s) }
        guard filter.group == nil, retained.count > 0 else { return }
        switch wanted.options.retainHandling {
        case .never: return  // [MQTT-3.3.1-11]
        case .ifNew where !isNew: return  // [MQTT-3.3.1-10]
        default: break
        }
        let begun = sessions[s].replays.begin(
            RetainedReplay(
                subscription: subscription,
                filter: filter.filter,
                options: wanted.options,
                identifier: identifier,
                versionMax: retained.version
            )
        )
        change(s) { .replay(begun.stored, incarnation: $0) }
    }

    mutating func endReplay(_ subscription: [UInt8], _ s: Int) {
        guard sessions[s].replays.end(subscription) else { return }
        changeReplayEnded(subscription, s)
    }

    private mutating func changeReplayEnded(_ subscription: [UInt8], _ s: Int) {
        change(s) { .replayEnded(incarnation: $0, filter: String(decoding: subscription, as: UTF8.self)) }
    }

    private mutating func finishWildReplay(_ replay: RetainedReplay, _ s: Int) {
        let hadPulled = sessions[s].replays.hasPulled
        sessions[s].replays.finishWild()
        changeReplayEnded(replay.subscription, s)
        if hadPulled && !sessions[s].replays.hasPulled {
            change(s) { .replayPulled(incarnation: $0, topic: "", sequence: 0) }
        }
        readOnIfReplayed(s)
    }

    /// One step: a topic, or a page of those that a filter with wildcards passes. False where no more can be sent now.
    mutating func continueReplay(_ s: Int, _ c: Int) -> Bool {
        guard sessions[s].state.outbound.queued < Self.replayQueuedMax else { return false }
        // What there is no room for is still owed, and comes once the client has taken what came before.
        guard hasRoom(s) else { return false }
        guard takesMore(c) else {
            becomeHungry(c)
            return false
        }
        let (topic, replay) = sessions[s].replays.takeExact()
        if let topic {
            budget -= 1
            if let replay {
                if let found = retained.get(topic.span) { deliverRetained(found, replay, s) }
                changeReplayEnded(replay.subscription, s)
            }
            return true
        }
        return continueWildReplay(s, c)
    }

    private mutating func continueWildReplay(_ s: Int, _ c: Int) -> Bool {
        guard let replay = sessions[s].replays.firstWild() else {
            readOnIfReplayed(s)
            return false
        }
        switch retained.next(after: replay.key, matching: replay.filter, budget: &budget) {
        case .more(let key):
            sessions[s].replays.advanceWild(to: key)
            becomeHungry(c)
            return false
        case .exhausted:
            finishWildReplay(replay, s)
            return true
        case .found(let found):
            let key = Array(found.message.topic.utf8)
            sessions[s].replays.advanceWild(to: key)
            guard !sessions[s].replays.wasPulled(key, for: replay) else { return true }
            let before = ticket
            deliverRetained(found, replay, s)
            if ticket > before {
                var advanced = replay.stored
                advanced.through = found.message.topic
                change(s) { .replay(advanced, incarnation: $0) }
            }
            return true
        }
    }

    /// A client with very many replays is not read from before they have become fewer: each live message to it looks
    /// at all of them.
    mutating func pauseForReplays(_ s: Int, _ c: Int) {
        connections[c].isReplaying = sessions[s].replays.wildCount > Self.replaysMax
    }

    private mutating func readOnIfReplayed(_ s: Int) {
        let c = Int(sessions[s].connection)
        guard c >= 0, connections[c].isReplaying, sessions[s].replays.wildCount <= Self.replaysMax else { return }
        connections[c].isReplaying = false
        touch(c)
    }

    /// A live message follows: what its topic is still owed goes first, so that the order of the topic holds.
    mutating func pullForward(_ topic: Span<UInt8>, _ s: Int) {
        guard let found = retained.get(topic) else { return }
        // First all are marked, then they are sent: sending may bring the oldest replay to its end.
        let wild = sessions[s].replays.wildSubscriptions
        guard let owing = sessions[s].replays.pull(topic, version: found.version) else {
            for subscription in wild { changeReplayEnded(subscription, s) }
            change(s) { .replayPulled(incarnation: $0, topic: "", sequence: 0) }
            readOnIfReplayed(s)
            return drop(.backlog, s, bytes: 0)
        }
        for replay in owing {
            deliverRetained(found, replay, s)
            if !replay.hasWildcards { changeReplayEnded(replay.subscription, s) }
        }
        guard owing.contains(where: \.hasWildcards) else { return }
        let sequence = sessions[s].replays.lastSequence
        change(s) { .replayPulled(incarnation: $0, topic: found.message.topic, sequence: sequence) }
    }

    @inline(__always)
    private func isPublisher(_ s: Int, of message: Message) -> Bool {
        message.publisher?.utf8.elementsEqual(sessions[s].state.clientID.utf8) ?? false
    }

    private mutating func deliverRetained(_ found: Retained, _ replay: RetainedReplay, _ s: Int) {
        let message = found.message
        guard found.version <= replay.versionMax else { return }
        guard message.expiresAt > now else {
            let bytes = message.bytes
            retained.remove(bytes.span.extracting(message.view.topic))
            change(.retainedCleared(topic: message.topic))
            return
        }
        if replay.options.noLocal && isPublisher(s, of: message) { return }  // [MQTT-3.8.3-3]
        let bytes = message.bytes
        var publication = Publication(message)
        let receiver = Receiver(
            session: Int32(s),
            qos: replay.options.qos,
            retainAsPublished: true
        )
        let identifiers = replay.identifier > 0 ? [replay.identifier] : []
        statistics.copiesRouted &+= 1
        _ = deliverOwed(bytes.span, message.view, &publication, to: receiver, identifiers)
    }
}
