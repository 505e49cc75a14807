{{ config(
    materialized='patched',
    meta={'key': 'profile_node', 'stale': 'int_revetl__trait_touched', 'made_by': revetl.profile_traits_hash()},
    tags=['trait_increment'],
    **revetl.storage(keys=['profile_node'])
) }}

{% set traits = revetl.declared_traits('profile_traits') %}

with all_identifiers as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__trait_touched') }}
{% if revetl.is_patch(revetl.profile_traits_hash()) %}
identifiers as (

    select all_identifiers.*
    from all_identifiers
    inner join {{ ref('revetl', 'int_revetl__trait_touched') }} as touched
        on all_identifiers.profile_node = touched.profile_node

),
{% else %}
identifiers as (

    select * from all_identifiers

),
{% endif %}

nodes as (

    select
        node_id,
        last_seen_at
    from {{ ref('revetl', 'int_revetl__identity_nodes') }}

),

sightings as (

    select
        message_id,
        left_node
    from {{ ref('revetl', 'int_revetl__identity_sightings') }}
    where
        source = 'identify'
        and {{ revetl.is_true('is_leading') }}

),

identifies as (

    select * from {{ ref('revetl', 'stg_revetl__identifies') }}

),

profiles as (

    select
        identifiers.profile_node,
        identifiers.canonical_id,
        {%- for type in ['user_id', 'anonymous_id'] %}
        {{ revetl.first_value_by(
            "case when identifiers.identifier_type = '" ~ type ~ "' then identifiers.identifier_value end",
            'identifiers.first_seen_at', 'identifiers.identifier_value') }}
            as {{ type }},
        {%- endfor %}
        min(identifiers.first_seen_at) as first_seen_at,
        max(nodes.last_seen_at) as last_seen_at
    from identifiers
    inner join nodes
        on identifiers.node_id = nodes.node_id
    group by
        identifiers.profile_node,
        identifiers.canonical_id

),

identify_messages as (

    select
        identifiers.profile_node,
        sightings.message_id
    from sightings
    inner join identifiers
        on sightings.left_node = identifiers.node_id

),

identified as (

    select
        identify_messages.profile_node,
        identifies.message_id,
        {%- for trait in traits %}
        {{ revetl.trait_value(trait.path or trait.name) }} as {{ revetl.quoted(trait.name) }},
        {%- endfor %}
        identifies.timestamp
    from identifies
    inner join identify_messages
        on identifies.message_id = identify_messages.message_id

),

known as (

    select
        profile_node,
        message_id,
        {%- for trait in traits %}
        {{ revetl.known_trait(revetl.quoted(trait.name), trait.name) }} as {{ revetl.quoted(trait.name) }},
        {%- endfor %}
        timestamp
    from identified

),

-- Nothing takes nothing away: each trait is the last value that was said, whenever it arrived.
set_last as (

    select
        {%- for trait in traits %}
        {%- set column = revetl.quoted(trait.name) %}
        {{ revetl.last_value_by(column, 'timestamp', 'message_id') }} as {{ column }},
        max(case when {{ column }} is not null then timestamp end)
            as {{ revetl.quoted(trait.name ~ '_set_at') }},
        {%- endfor %}
        profile_node
    from known
    group by profile_node

),

profile_traits as (

    select
        profiles.profile_node,
        profiles.canonical_id,
        profiles.user_id,
        profiles.anonymous_id,
        {%- for trait in traits %}
        {%- set column = 'set_last.' ~ revetl.quoted(trait.name) %}
        {%- if trait.data_type != 'varchar' %}
        {%- set column = revetl.fitted(trait, column) ~ ' as ' ~ revetl.quoted(trait.name) %}
        {%- endif %}
        {{ column }},
        set_last.{{ revetl.quoted(trait.name ~ '_set_at') }},
        {%- endfor %}
        profiles.first_seen_at,
        profiles.last_seen_at,
        '{{ revetl.profile_traits_hash() }}' as made_by
    from profiles
    left join set_last
        on profiles.profile_node = set_last.profile_node

)

select * from profile_traits
