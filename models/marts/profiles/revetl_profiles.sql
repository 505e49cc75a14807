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

with profile_traits as (

    select * from {{ ref('revetl', 'int_revetl__profile_traits') }}

),

computed_traits as (

    select * from {{ ref('revetl', 'revetl_computed_traits') }}

),

profiles as (

    select
        profile_traits.canonical_id,
        profile_traits.user_id,
        profile_traits.anonymous_id,
        {%- for trait in traits %}
        profile_traits.{{ revetl.quoted(trait.name) }},
        profile_traits.{{ revetl.quoted(trait.name ~ '_set_at') }},
        {%- endfor %}
        {%- for trait in revetl.traits() %}
        {{ revetl.known_or_default(trait) }} as {{ trait.name }},
        {%- endfor %}
        profile_traits.first_seen_at,
        profile_traits.last_seen_at
    from profile_traits
    left join computed_traits
        on profile_traits.canonical_id = computed_traits.canonical_id

)

select * from profiles
{% endif %}
