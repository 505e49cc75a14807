{% set rules = revetl.identity_rules() %}

with rules as (

    {% for type in rules.types -%}
    select
        '{{ type.name }}' as identifier_type,
        {%- for window in ['ever', 'week', 'month', 'year'] %}
        cast({{ type.limits.get(window, 'null') }} as {{ revetl.type_of('bigint') }}) as limit_{{ window }},
        {%- endfor %}
        {{ type.rank }} as priority
    {{ 'union all' if not loop.last }}
    {% endfor %}

)

select * from rules
