{{ config(meta={
    'columns': revetl.profile_columns(),
    'as_of': var('as_of', none) | string if var('as_of', none) else none,
}) }}
{% set own = revetl.override_of('revetl_profiles') %}
{% if own %}
{{ config(materialized=revetl.view_kind(), meta={'stands_for': own}) }}
{{ revetl.standing_in('revetl_profiles') }}
{% else %}

{% set traits = revetl.declared_traits('profile_traits') %}

with events as (

    select * from {{ ref('revetl', 'revetl_events') }}
    where source = 'identify'

),

identifies as (

    select * from {{ ref('revetl', 'stg_revetl__identifies') }}

),

identifiers as (

    select * from {{ ref('revetl', 'revetl_profile_identifiers') }}

),

computed_traits as (

    select * from {{ ref('revetl', 'revetl_computed_traits') }}

),

profiles as (

    select
        canonical_id,
        max(
            case when identifier_type = 'user_id' and identifier_number = 1 then identifier_value end
        ) as user_id,
        max(
            case when identifier_type = 'anonymous_id' and identifier_number = 1 then identifier_value end
        ) as anonymous_id,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from identifiers
    group by canonical_id

),

identified as (

    select
        events.canonical_id,
        identifies.message_id,
        {%- for trait in traits %}
        {{ revetl.trait_value(trait.name) }} as {{ revetl.quoted(trait.name) }},
        {%- endfor %}
        identifies.timestamp
    from identifies
    inner join events
        on identifies.message_id = events.message_id

),

known as (

    select
        canonical_id,
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
        canonical_id
    from known
    group by canonical_id

),

joined as (

    select
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
        {%- for trait in revetl.traits() %}
        {{ revetl.known_or_default(trait) }} as {{ trait.name }},
        {%- endfor %}
        profiles.first_seen_at,
        profiles.last_seen_at
    from profiles
    left join set_last
        on profiles.canonical_id = set_last.canonical_id
    left join computed_traits
        on profiles.canonical_id = computed_traits.canonical_id

)

select * from joined
{% endif %}
