{{ config(materialized=revetl.view_kind(), enabled=revetl.traits() | selectattr('history') | list != []) }}

{% set kept = revetl.traits() | selectattr('history') | list %}

with computed_traits as (

    select * from {{ ref('revetl', 'revetl_computed_traits') }}

),

kept as (
    {%- for trait in kept %}
    {{ 'union all' if not loop.first }}
    select
        canonical_id,
        '{{ trait.name }}' as trait,
        cast({{ trait.name }} as {{ revetl.type_of('varchar') }}) as value,
        {{ revetl.as_of() }} as seen_at
    from computed_traits
    where {{ trait.name }} is not null
    {%- endfor %}

)

select * from kept
