{{ config(materialized=revetl.view_kind()) }}

{% set types = {
    'track': 'stg_revetl__tracks',
    'identify': 'stg_revetl__identifies',
    'page': 'stg_revetl__pages',
    'screen': 'stg_revetl__screens',
    'group': 'stg_revetl__groups',
    'alias': 'stg_revetl__aliases',
} %}

with sightings as (

    select
        source,
        message_id,
        left_node
    from {{ ref('revetl', 'int_revetl__identity_sightings') }}
    where {{ revetl.is_true('is_leading') }}

),

graph as (

    select
        node_id,
        profile_node
    from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

-- Nodes are counted, not canonical ids, which take several times the memory.
profiles as (

    select
        sightings.source,
        sightings.message_id,
        graph.profile_node
    from sightings
    inner join graph
        on sightings.left_node = graph.node_id

),

messages as (

    {% for type, model in types.items() -%}
    select
        '{{ type }}' as message_type,
        message_id,
        user_id,
        anonymous_id,
        source_id,
        cast({{ revetl.start_of('month', 'timestamp') }} as date) as month
    from {{ ref('revetl', model) }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

-- Who was seen where, in few rows, for they are looked at twice: by their source, and with all others.
seen as (

    select
        messages.month,
        messages.source_id,
        messages.message_type,
        messages.user_id,
        messages.anonymous_id,
        profiles.profile_node,
        count(*) as message_count
    from messages
    left join profiles
        on
            messages.message_type = profiles.source
            and messages.message_id = profiles.message_id
    group by
        messages.month,
        messages.source_id,
        messages.message_type,
        messages.user_id,
        messages.anonymous_id,
        profiles.profile_node

),

scoped as (

    select
        month,
        source_id,
        message_type,
        user_id,
        anonymous_id,
        profile_node,
        message_count
    from seen
    union all
    select
        month,
        'all' as source_id,
        message_type,
        user_id,
        anonymous_id,
        profile_node,
        message_count
    from seen

),

-- An anonymous id that has a user id in the month is that user.
anonymous as (

    select
        month,
        source_id,
        anonymous_id,
        max(case when user_id is not null then 1 else 0 end) as is_known
    from scoped
    where anonymous_id is not null
    group by
        month,
        source_id,
        anonymous_id

),

anonymous_counts as (

    select
        month,
        source_id,
        count(*) as unknown_count
    from anonymous
    where is_known = 0
    group by
        month,
        source_id

),

counts as (

    select
        month,
        source_id,
        count(distinct profile_node) as profile_count,
        count(distinct user_id) as user_id_count,
        {%- for type in types %}
        sum(case when message_type = '{{ type }}' then message_count else 0 end) as {{ type }}_calls,
        {%- endfor %}
        sum(message_count) as api_calls
    from scoped
    group by
        month,
        source_id

),

monthly as (

    select
        counts.month,
        counts.source_id,
        counts.profile_count,
        counts.user_id_count + coalesce(anonymous_counts.unknown_count, 0) as mtu_count,
        counts.user_id_count,
        coalesce(anonymous_counts.unknown_count, 0) as anonymous_id_count,
        {%- for type in types %}
        cast(counts.{{ type }}_calls as {{ revetl.type_of('bigint') }}) as {{ type }}_calls,
        {%- endfor %}
        cast(counts.api_calls as {{ revetl.type_of('bigint') }}) as api_calls
    from counts
    left join anonymous_counts
        on
            counts.month = anonymous_counts.month
            and (
                counts.source_id = anonymous_counts.source_id
                or (counts.source_id is null and anonymous_counts.source_id is null)
            )

)

select * from monthly
